"""ClientHellos written out by hand, after RFC 5246 section 7.4.1.2, RFC 8446 section 4.1.2 and the SSLv2 draft."""

from scanner.tls.client_hello import ClientHello, decode_client_hello

SUITES = (0x1301, 0xC02F, 0x002F)


def u16(*numbers):
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def vector(data, size=2):
    return len(data).to_bytes(size, "big") + data


def extension(number, data):
    return u16(number) + vector(data)


def sni(name):
    return extension(0, vector(b"\x00" + vector(name.encode())))


def hello_bytes(*, legacy=0x0303, listed=None, suites=SUITES, extensions=(), name="a.example", random=bytes(32)):
    """Return one handshake record with a hello; extensions: (number, data)."""
    blocks = [sni(name)] if name else []
    blocks += [extension(number, data) for number, data in extensions]
    if listed is not None:
        blocks.append(extension(43, vector(u16(*listed), 1)))
    body = u16(legacy) + random + b"\x00" + vector(u16(*suites)) + b"\x01\x00"
    if blocks:
        body += vector(b"".join(blocks))
    message = b"\x01" + vector(body, 3)
    return b"\x16\x03\x01" + vector(message)


def ssl2_hello_bytes(*, version=0x0002, kinds=(0x010080, 0x0700C0), challenge=bytes(range(16))):
    spec = b"".join(kind.to_bytes(3, "big") for kind in kinds)
    body = b"\x01" + u16(version, len(spec), 0, len(challenge)) + spec + challenge
    return u16(0x8000 | len(body)) + body


def hello(**fields):
    return decoded(hello_bytes(**fields))


def decoded(data):
    found = decode_client_hello(data)
    assert isinstance(found, ClientHello)
    return found


def server_hello_bytes(version, *, suite=0xC02F, random=bytes(range(32))):
    """Return one record with a ServerHello; version 0x0304 by supported_versions (RFC 8446 section 4.1.3)."""
    extensions = vector(extension(43, u16(0x0304))) if version == 0x0304 else b""
    body = u16(min(version, 0x0303)) + random + b"\x00" + u16(suite) + b"\x00" + extensions
    return b"\x16\x03\x03" + vector(b"\x02" + vector(body, 3))


def alert_bytes(number, level=2):
    return b"\x15\x03\x03\x00\x02" + bytes([level, number])

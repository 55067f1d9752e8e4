"""The second ClientHello, after a HelloRetryRequest (RFC 8446 sections 4.1.2 and 4.1.4).

A HelloRetryRequest proves TLS 1.3, but comes before the server looks at name and certificate. Going on to the real
ServerHello makes the same connection a control. No secret is computed: the shares below are valid public values.
"""

from __future__ import annotations

from collections.abc import Iterator

from scanner.tls.reply import ServerHello

_EXT_COOKIE = 44
_EXT_KEY_SHARE = 51
_EXT_PADDING = 21

# RFC 7748 section 6.1 and 6.2 (Alice's public keys), RFC 5903 sections 8.1 and 8.2 (gi), SEC 2 section 2.6.1 (G).
_X25519 = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
_X448 = bytes.fromhex(
    "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0"
)
_P256 = bytes.fromhex(
    "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
    "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
)
_P384 = bytes.fromhex(
    "04667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa"
    "9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c"
)
_P521 = bytes.fromhex(
    "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a"
    "429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013f"
    "ad0761353c7086a272c24088be94769fd16650"
)


def _ffdhe(size_bytes: int) -> bytes:
    # 4 = 2^2 is a quadratic residue, so it lies in the subgroup that RFC 7919 section 5.1 asks for.
    return (4).to_bytes(size_bytes, "big")


# FIPS 203: an encapsulation key is valid when every coefficient is below q; all zero is.
KEY_SHARES: dict[int, bytes] = {
    23: _P256,
    24: _P384,
    25: _P521,
    29: _X25519,
    30: _X448,
    256: _ffdhe(256),
    257: _ffdhe(384),
    258: _ffdhe(512),
    259: _ffdhe(768),
    260: _ffdhe(1024),
    512: bytes(800),
    513: bytes(1184),
    514: bytes(1568),
    4587: _P256 + bytes(1184),
    4588: bytes(1184) + _X25519,
    4589: _P384 + bytes(1568),
}
"""A valid public value for each group that TLS 1.3 servers ask for (draft-ietf-tls-ecdhe-mlkem for the hybrids)."""


def maybe_second_hello(first: bytes, request: ServerHello) -> bytes | None:
    """Return the ClientHello that the HelloRetryRequest asks for, or None where we have no share for its group.

    first: our first ClientHello, one record. Everything but key_share, cookie and padding stays as it was.
    """
    share = KEY_SHARES.get(request.retry_group) if request.retry_group is not None else None
    if request.retry_group is not None and share is None:
        return None
    extensions_at = _extensions_at(first)
    kept: list[bytes] = []
    for number, data in _extensions(first[extensions_at + 2 :]):
        if number == _EXT_KEY_SHARE and share is not None and request.retry_group is not None:
            entry = request.retry_group.to_bytes(2, "big") + _vector16(share)
            kept.append(number.to_bytes(2, "big") + _vector16(_vector16(entry)))
        elif number != _EXT_PADDING:
            kept.append(number.to_bytes(2, "big") + _vector16(data))
    if request.cookie:
        kept.append(_EXT_COOKIE.to_bytes(2, "big") + _vector16(_vector16(request.cookie)))
    body = first[9:extensions_at] + _vector16(b"".join(kept))
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return first[:3] + len(handshake).to_bytes(2, "big") + handshake


def _extensions_at(hello: bytes) -> int:
    """Return where the extensions block's length stands in our own hello record."""
    at = 9 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    return at + 1 + hello[at]


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(block):
        size = int.from_bytes(block[at + 2 : at + 4], "big")
        yield int.from_bytes(block[at : at + 2], "big"), block[at + 4 : at + 4 + size]
        at += 4 + size


def _vector16(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data

"""What ``netsh http show sslcert`` prints: the bindings of http.sys and the versions their flags turn off. Pure.

One block a binding, ``label : value`` a line; the first label of a block has ``port`` in it in the languages seen.
Of the labels only those about TLS are taken; hashes, stores and application ids are not kept.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from scanner.importers.reg_file import decode_export
from scanner.importers.registry_model import RegistryExport, SslBinding
from scanner.importers.source import MOST_BYTES, ReadError, SourceFile
from scanner.model.declared import Place
from scanner.model.versions import TlsVersion

_LINE = re.compile(r"\s*(\S.*?)\s*:\s(.*)")
_LEGACY = frozenset({TlsVersion.SSL2, TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1})
_MOST_LINE_LENGTH = 1_000
_SET = {"set": True, "not set": False}


def recognise(source: SourceFile) -> int:
    """Return 90 where the begin has a binding with a certificate's hash, else 0."""
    text = decode_export(source.data[: 64 * 1024])
    if not re.search(r"(?i)\b(?:ip|host ?name):port\s{1,60}:\s", text):
        return 0
    return 90 if parse_sslcert(text, source.name) else 0


def read_export(source: SourceFile) -> RegistryExport:
    """Return the bindings, with nothing of the registry. Raises ReadError where there is none."""
    if len(source.data) > MOST_BYTES:
        raise ReadError(f"{source.name}: larger than 64 MB")
    bindings = parse_sslcert(decode_export(source.data), source.name)
    if not bindings:
        raise ReadError(f"{source.name}: no binding of netsh http show sslcert")
    return RegistryExport(keys=(), values=(), roots=(), bindings=bindings)


def parse_sslcert(text: str, file: str, key: str = "") -> tuple[SslBinding, ...]:
    """Return the bindings in their order; with a key (of a JSON document, say) places have that instead of lines."""
    bindings: list[SslBinding] = []
    head: tuple[str | None, int | None, str, Place] | None = None
    disabled: set[TlsVersion] = set()
    unread: set[TlsVersion] = set()

    def close() -> None:
        if head is not None:
            address, port, name, place = head
            bindings.append(
                SslBinding(
                    address=address,
                    port=port,
                    server_name=name,
                    disabled=frozenset(disabled),
                    unread=frozenset(unread - disabled),
                    place=place,
                )
            )

    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(_split_label(line.rstrip()))
        if match is None:
            continue
        label, value = match[1].casefold(), match[2].strip()
        # The labels that begin a block; the central store's value is the port alone.
        if re.search(r":\s?port$", label) or (label == "central certificate store" and value.isdecimal()):
            close()
            place = Place(file=file, key=key) if key else Place(file=file, line=number)
            head = (*_parse_address(value), place)
            disabled, unread = set(), set()
        elif head is not None and (versions := _versions(label)):
            state = _SET.get(value.casefold())
            if state is None:
                unread |= versions
            elif state:
                disabled |= versions
    close()
    return tuple(bindings)


def _split_label(line: str) -> str:
    """Return the line as ``label : value``: the first colon between blanks splits, as labels and values hold colons."""
    if len(line) > _MOST_LINE_LENGTH:
        return ""
    label, separator, value = line.partition(" : ")
    return f"{label.rstrip().replace(': ', ':')} : {value}" if separator else ""


def _versions(label: str) -> frozenset[TlsVersion]:
    words = label.replace(" ", "")
    if "tls1.2" in words:
        return frozenset({TlsVersion.TLS1_2})
    if "tls1.3" in words:
        return frozenset({TlsVersion.TLS1_3})
    return _LEGACY if "tls" in words else frozenset()


def _parse_address(value: str) -> tuple[str | None, int | None, str]:
    """Return address, port and name of ``0.0.0.0:443``, ``[::]:443``, ``sts.example.com:443`` or ``443``."""
    host, separator, digits = value.rpartition(":")
    digits = digits if separator else value
    port = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 5 else None
    port = port if port is not None and 0 < port < 1 << 16 else None
    host = host.strip("[] ")
    if not host:
        return None, port, ""
    try:
        address = ip_address(host)
    except ValueError:
        return None, port, host.lower()
    return (None if address.is_unspecified else str(address)), port, ""

"""JA4: a short name for how a client says hello, the same for the same software.

JA4 (TLS client fingerprinting) is by John Althouse, FoxIO (https://github.com/FoxIO-LLC/ja4, technical_details/JA4.md,
BSD 3-Clause); written here from that description. The other JA4+ methods have another licence and are not used.
"""

from __future__ import annotations

import hashlib

from scanner.tls.client_hello import GREASE, ClientHello

_SERVER_NAME = 0
_ALPN = 16
_NOTHING = "000000000000"
_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}


def render_ja4(hello: ClientHello) -> str:
    """Return the JA4 of a hello over TCP, such as ``t13d1516h2_8daaf6152771_e5627efa2ab1``.

    An SSLv2 CLIENT-HELLO has no JA4, whatever its version: JA4 is made of two-byte suites and of extensions. It gets
    an empty string.
    """
    if hello.is_ssl2_format:
        return ""
    suites = [suite for suite in hello.suites if suite not in GREASE]
    extensions = [number for number, _ in hello.extensions if number not in GREASE]
    listed = hello.supported_versions
    version = hello.legacy_version if listed is None else max(listed, default=0)
    has_name = "d" if _SERVER_NAME in extensions else "i"
    what = (
        f"t{_VERSIONS.get(version, '00')}{has_name}{min(len(suites), 99):02d}{min(len(extensions), 99):02d}"
        f"{_render_alpn(hello)}"
    )
    kept = _render_numbers(sorted(number for number in extensions if number not in {_SERVER_NAME, _ALPN}))
    algorithms = _render_numbers(list(hello.signature_algorithms))
    both = f"{kept}_{algorithms}" if kept and algorithms else kept
    return f"{what}_{_digest(_render_numbers(sorted(suites)))}_{_digest(both)}"


def _render_alpn(hello: ClientHello) -> str:
    """Return the first and last character of the first protocol name; of its hex form where one isn't a letter."""
    name = hello.alpn[0] if hello.alpn else b""
    if not name:
        return "00"
    first, last = chr(name[0]), chr(name[-1])
    if first.isascii() and first.isalnum() and last.isascii() and last.isalnum():
        return first + last
    return name.hex()[0] + name.hex()[-1]


def _render_numbers(numbers: list[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING

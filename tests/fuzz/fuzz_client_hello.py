"""Fuzz what strangers send first, guided by coverage (atheris): ``python -m tests.fuzz.fuzz_client_hello``.

Options are libFuzzer's: ``-max_total_time=60``, ``-runs=20000``, a corpus folder. The captured hellos are the seeds.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["scanner.tls.client_hello", "scanner.tls.ja4"]):
    from scanner.tls.client_hello import MAX_HELLO_BYTES, ClientHello, HelloReader, NeedMore, decode_client_hello
    from scanner.tls.ja4 import render_ja4

from scanner.model.versions import ALL_VERSIONS

SEEDS = Path(__file__).parents[1] / "tls" / "hellos"


def check(data: bytes) -> None:
    """Decode the bytes, whole and in pieces, and hold the answer to what is promised of it."""
    found = decode_client_hello(data)
    reader = HelloReader()
    piece_bytes = 1 + (data[-1] % 64 if data else 0)
    piecewise = reader.feed(b"")
    for at in range(0, len(data), piece_bytes):
        piecewise = reader.feed(data[at : at + piece_bytes])
    # Both may refuse: the pieces for what the first few said, the whole for all of it.
    assert type(piecewise) is type(found)
    if isinstance(found, NeedMore):
        assert piecewise == found
        assert len(data) < found.least_bytes <= MAX_HELLO_BYTES
    elif isinstance(found, ClientHello):
        assert piecewise == found
        assert len(found.message) < found.wire_bytes <= len(data)
        assert isinstance(decode_client_hello(data[: found.wire_bytes - 1]), NeedMore)
        assert found.server_name is None or found.server_name.isascii()
        offered = found.offered()
        assert [version for version in ALL_VERSIONS if found.may_offer(version)] == sorted(offered)
        assert found.maximum == max(offered, default=None)
        _ = (found.alpn, found.groups, found.signature_algorithms)
        _ = (found.has_fallback_scsv, found.has_renegotiation_info)
        ja4 = render_ja4(found)
        assert len(ja4) == (0 if found.is_ssl2_format else 36)


def main() -> None:
    """Hand the command line to libFuzzer, with the seeds behind a folder for what it finds."""
    with tempfile.TemporaryDirectory() as found:
        atheris.Setup([*sys.argv, "-max_len=4096", found, str(SEEDS)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

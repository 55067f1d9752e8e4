"""Hives that hivexsh (libhivex, an independent library) wrote."""

import struct
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.importers.hive import read_export, recognise
from scanner.importers.source import ReadError, SourceFile

WRITTEN_AT = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
SCHANNEL = r"HKEY_LOCAL_MACHINE\SYSTEM\CURRENTCONTROLSET\CONTROL\SECURITYPROVIDERS\SCHANNEL"


def empty_hive(sequences=(1, 1)):
    """One root key and no more, by the format's specification; hivexsh adds the rest."""
    filetime = int((WRITTEN_AT - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000
    name = b"ROOT"
    nk = struct.pack(
        "<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0x2C, filetime, 0, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF,
        0x98, 0xFFFFFFFF, 0, 0, 0, 0, 0, len(name), 0,
    ) + name  # fmt: skip
    cell = struct.pack("<i", -0x78) + nk.ljust(0x74, b"\0")
    security = struct.pack("<i2sHIII", -0x30, b"sk", 0, 0x98, 0x98, 1) + struct.pack("<I", 20)
    security += struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    security = security.ljust(0x30, b"\0")
    used = cell + security
    free = 0x1000 - 0x20 - len(used)
    body = used + struct.pack("<i", free).ljust(free, b"\0")
    block = struct.pack("<4sIIQQI", b"hbin", 0, 0x1000, 0, 0, 0) + body
    header = struct.pack("<4sIIQIIIIIII", b"regf", *sequences, filetime, 1, 3, 0, 1, 0x20, 0x1000, 1)
    header = header.ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", header):
        checksum ^= word
    return (header + struct.pack("<I", checksum)).ljust(0x1000, b"\0") + block


@pytest.fixture
def write_hive(tmp_path):
    def write(keys):
        """keys: {path: [(name, hivexsh's value), ...]}, parents too."""
        path = tmp_path / "hive"
        path.write_bytes(empty_hive())
        lines, made = [], set()
        for key, values in keys.items():
            parts = key.split("\\")
            for depth, part in enumerate(parts):
                here = tuple(parts[: depth + 1])
                if here not in made:
                    made.add(here)
                    lines += ["cd \\" + "\\".join(parts[:depth]), f"add {part}"]
            lines += ["cd \\" + key, f"setval {len(values)}"]
            for name, value in values:
                lines += [name, value]
        script = tmp_path / "script"
        script.write_text("\n".join([*lines, "commit", "quit", ""]))
        done = subprocess.run(
            ["hivexsh", "-w", "-f", script, path], capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return path.read_bytes()

    return write


SYSTEM = {
    "Select": [("Current", "dword:2")],
    r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client": [("Enabled", "dword:0")],
    r"ControlSet002\Control\ComputerName\ComputerName": [("ComputerName", "string:STS1")],
    r"ControlSet002\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client": [
        ("Enabled", "dword:0xffffffff"),
        ("DisabledByDefault", "dword:0"),
    ],
    r"ControlSet002\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.0\Server": [("Enabled", "string:0")],
    r"ControlSet002\Services\Secret": [("Password", "string:hunter2")],
}
SOFTWARE = {
    r"Microsoft\.NETFramework\v4.0.30319": [("SchUseStrongCrypto", "dword:1")],
    r"Microsoft\Windows NT\CurrentVersion": [
        ("CurrentBuildNumber", "string:17763"),
        ("CurrentVersion", "string:6.3"),
        ("ProductName", "string:Windows Server 2019 Standard"),
        ("DigitalProductId", "string:hunter2"),
    ],
    r"Microsoft\Windows NT\CurrentVersion\Fonts": [("Arial", "string:arial.ttf")],
    r"Wow6432Node\Microsoft\Windows\CurrentVersion\Internet Settings\WinHttp": [
        ("DefaultSecureProtocols", "dword:0xa00")
    ],
}


def read(data):
    return read_export(SourceFile(name="HIVE", data=data))


def rows(export):
    return {(each.path, each.name): (each.type, each.number) for each in export.values}


def test_of_a_system_hive_the_current_control_set_counts(write_hive):
    export = read(write_hive(SYSTEM))
    protocols = SCHANNEL + r"\PROTOCOLS"
    assert rows(export) == {
        (protocols + r"\TLS 1.2\CLIENT", "Enabled"): ("REG_DWORD", 0xFFFFFFFF),
        (protocols + r"\TLS 1.2\CLIENT", "DisabledByDefault"): ("REG_DWORD", 0),
        (protocols + r"\TLS 1.0\SERVER", "Enabled"): ("REG_SZ", None),
        (r"HKEY_LOCAL_MACHINE\SYSTEM\CURRENTCONTROLSET\CONTROL\COMPUTERNAME\COMPUTERNAME", "ComputerName"): (
            "REG_SZ",
            None,
        ),
    }
    assert export.computer_name == "STS1"
    assert SCHANNEL in export.roots
    assert "hunter2" not in repr(export)


def test_of_a_software_hive_the_keys_that_decide_are_read(write_hive):
    export = read(write_hive(SOFTWARE))
    found = rows(export)
    net4 = r"HKEY_LOCAL_MACHINE\SOFTWARE\MICROSOFT\.NETFRAMEWORK\V4.0.30319"
    winhttp = r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432NODE\MICROSOFT\WINDOWS\CURRENTVERSION\INTERNET SETTINGS\WINHTTP"
    assert found[net4, "SchUseStrongCrypto"] == ("REG_DWORD", 1)
    assert found[winhttp, "DefaultSecureProtocols"] == ("REG_DWORD", 0xA00)
    assert (export.windows_build, export.product_name) == ("10.0.17763", "Windows Server 2019 Standard")
    assert not [path for path, _name in found if path.endswith("FONTS")]
    assert net4 in export.roots
    assert "hunter2" not in repr(export)


def test_the_time_a_key_was_written_is_kept(write_hive):
    export = read(write_hive(SYSTEM))
    times = {key.written_at for key in export.keys}
    assert len(times) == 1
    # hivexsh copies its parent's time to a key that it adds.
    (written_at,) = times
    assert written_at == WRITTEN_AT


def test_a_hive_that_was_not_closed_is_refused():
    with pytest.raises(ReadError, match=r"^HIVE: the hive was not closed"):
        read(empty_hive(sequences=(2, 1)))


def test_a_hive_of_something_else_is_refused(write_hive):
    with pytest.raises(ReadError, match=r"^HIVE: the hive is neither SYSTEM nor SOFTWARE$"):
        read(write_hive({"Console": []}))


def test_a_system_hive_without_its_current_set_is_refused(write_hive):
    with pytest.raises(ReadError, match=r"does not say which control set"):
        read(write_hive({"Select": [("Current", "dword:3")], "ControlSet001": []}))


def test_a_key_below_itself_is_refused(write_hive):
    data = bytearray(write_hive(SYSTEM))
    # The key "Protocols" of the current set gets the list of subkeys that it stands in itself.
    at = data.rindex(b"SCHANNEL") - 76
    own = data.rindex(b"Protocols") - 76
    assert data[at : at + 2] == data[own : own + 2] == b"nk"
    data[own + 28 : own + 32] = data[at + 28 : at + 32]
    data[own + 20 : own + 24] = data[at + 20 : at + 24]
    with pytest.raises(ReadError, match="without end"):
        read(bytes(data))


def test_recognised_by_its_first_bytes():
    assert recognise(SourceFile(name="x", data=empty_hive())) == 100
    assert recognise(SourceFile(name="x", data=b"REGEDIT4")) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 14), st.binary(min_size=1, max_size=8)), max_size=8))
def test_a_damaged_hive_raises_nothing_but_read_errors(write_hive, changes):
    if not hasattr(write_hive, "data"):
        write_hive.data = write_hive(SYSTEM)
    data = bytearray(write_hive.data)
    for offset, piece in changes:
        at = offset % len(data)
        data[at : at + len(piece)] = piece[: len(data) - at]
    said = ""
    try:
        read(bytes(data))
    except ReadError as error:
        said = str(error)
    assert said == "" or (said.startswith("HIVE: ") and "hunter2" not in said)


@given(st.binary(max_size=300))
def test_garbage_behind_the_signature_raises_nothing_but_read_errors(rest):
    with pytest.raises(ReadError):
        read(b"regf" + rest)

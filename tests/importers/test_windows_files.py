"""The same settings in every format are judged alike."""

import json

import pytest

from scanner.importers import windows_files
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.evidence import State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL"
TLS12 = KEY + r"\Protocols\TLS 1.2\Server"
REG = f'Windows Registry Editor Version 5.00\r\n\r\n[{KEY}]\r\n\r\n[{TLS12}]\r\n"Enabled"=dword:00000000\r\n'
QUERY = f"\r\n{KEY}\r\n    EventLogging    REG_DWORD    0x1\r\n\r\n{TLS12}\r\n    Enabled    REG_DWORD    0x0\r\n"
DOCUMENT = {
    "schema": "entra-tls-windows-1",
    "roots": [KEY],
    "keys": [{"path": TLS12, "values": [{"name": "Enabled", "type": "REG_DWORD", "number": 0}]}],
}
FORMATS = {
    "reg": (windows_files.REG, REG.encode("utf-16")),
    "reg-query": (windows_files.REG_QUERY, QUERY.encode()),
    "windows-json": (windows_files.WINDOWS_JSON, json.dumps(DOCUMENT).encode()),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_settings_are_judged_alike_in_every_format(name):
    kind, data = FORMATS[name]
    source = SourceFile(name="x", data=data)
    reading = kind.read(source, EMPTY_FOLDER, ReadOptions(product_version="2019"))
    assert (reading.importer, reading.file, reading.sha256) == (name, "x", source.sha256)
    server, client = reading.legs
    assert server.settings[ALL_VERSIONS.index(TlsVersion.TLS1_2)].state is State.DISABLED
    assert client.settings[ALL_VERSIONS.index(TlsVersion.TLS1_2)].state is State.ENABLED


@pytest.mark.parametrize("name", FORMATS)
def test_only_keys_that_the_export_covers_are_set(name):
    kind, data = FORMATS[name]
    (remedy,) = kind.plan_edits(SourceFile(name="x", data=data), EMPTY_FOLDER, ReadOptions(), wants=Wants())
    assert sorted(remedy.commands) == [
        rf'reg add "{TLS12.replace("HKEY_LOCAL_MACHINE", "HKLM").replace("Server", side)}" '
        f"/v {value} /t REG_DWORD /d {number} /f"
        for side in ("Client", "Server")
        for value, number in (("DisabledByDefault", 0), ("Enabled", 1))
    ]


@pytest.mark.parametrize(
    "kind",
    [
        windows_files.REG,
        windows_files.REG_QUERY,
        windows_files.WINDOWS_JSON,
        windows_files.NETSH,
        windows_files.HIVE,
    ],
)
def test_another_file_is_refused(kind):
    with pytest.raises(ReadError, match=r"^letter\.txt"):
        kind.read(SourceFile(name="letter.txt", data=b"Dear Sir"), EMPTY_FOLDER, ReadOptions())

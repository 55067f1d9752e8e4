import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.reg_file import maybe_path
from scanner.importers.registry_json import read_export, recognise
from scanner.importers.source import ReadError, SourceFile

BASE = r"HKLM:\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
DOCUMENT = {
    "schema": "entra-tls-windows-1",
    "computer_name": "STS01",
    "os": {"build": "10.0.17763", "product_name": "Windows Server 2019 Standard"},
    "last_boot_at": "2026-11-01T04:00:00Z",
    "collected_at": "2026-11-02T05:00:00+01:00",
    "keys": [
        {
            "path": BASE + r"\TLS 1.2\Client",
            "written_at": "2026-11-01T05:00:00Z",
            "values": [
                {"name": "Enabled", "type": "REG_DWORD", "number": -1},
                {"name": "Secret", "type": "REG_SZ", "number": None, "text": "hunter2"},
                {"name": "Bad", "type": "REG_DWORD", "number": 2**32},
            ],
        }
    ],
    "netsh_sslcert": "    IP:port                 : 0.0.0.0:443\r\n    Disable TLS1.2          : Set\r\n",
    "adfs": {"adfs": "4.0", "https_port": 443, "wap": False, "nested": {"x": "y"}},
    "roots": [BASE],
}


def of(document, encoding="utf-8"):
    return SourceFile(name="c.json", data=json.dumps(document).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_collectors_document_is_read(encoding):
    source = of(DOCUMENT, encoding)
    export = read_export(source)
    assert recognise(source) == 100
    assert export.roots == (maybe_path(BASE),)
    assert (export.computer_name, export.windows_build) == ("STS01", "10.0.17763")
    assert export.product_name == "Windows Server 2019 Standard"
    assert export.last_boot_at == datetime(2026, 11, 1, 4, tzinfo=UTC)
    assert export.collected_at == datetime(2026, 11, 2, 4, tzinfo=UTC)
    assert export.keys[0].written_at == datetime(2026, 11, 1, 5, tzinfo=UTC)
    assert [(v.name, v.number, v.place.key) for v in export.values] == [
        ("Enabled", 0xFFFFFFFF, "/keys/0/values/0"),
        ("Secret", None, "/keys/0/values/1"),
        ("Bad", None, "/keys/0/values/2"),
    ]
    assert [place.key for place, _ in export.problems] == ["/keys/0/values/2"]
    assert [binding.port for binding in export.bindings] == [443]
    assert export.facts == (("adfs", "4.0"), ("https_port", "443"), ("wap", "false"))
    assert "hunter2" not in repr(export)


def test_where_netsh_was_not_asked_bindings_are_unknown():
    assert read_export(of({**DOCUMENT, "netsh_sslcert": None})).bindings is None


def test_a_list_of_one_that_powershell_unwrapped_is_a_list():
    export = read_export(of({**DOCUMENT, "keys": DOCUMENT["keys"][0], "roots": BASE}))
    assert (len(export.keys), len(export.roots)) == (1, 1)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema":"other"}', b"[" * 100_000, b'{"a":' + b"9" * 9_000])
def test_another_document_is_refused(data):
    assert recognise(SourceFile(name="c.json", data=data)) == 0
    with pytest.raises(ReadError):
        read_export(SourceFile(name="c.json", data=data))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*DOCUMENT]), ANY), ANY, ANY)
def test_members_of_any_type_raise_nothing(members, key, value):
    keys = [key, {"path": BASE, "values": [value, {"name": value, "type": key, "number": value}]}]
    read_export(of({**DOCUMENT, "keys": keys, **members, "schema": "entra-tls-windows-1"}))

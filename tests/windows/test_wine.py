"""Exports that Wine writes are read back as they were set; a program on its WinHTTP does what the audit says."""

from __future__ import annotations

import asyncio

import pytest

from scanner.importers import reg_file, reg_query
from scanner.importers.catalogue import choose_importer
from scanner.importers.source import EMPTY_FOLDER, ReadOptions, SourceFile
from scanner.listener.identity import make_identity
from scanner.listener.server import Listener
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion
from scanner.tls.client_hello import ClientHello, decode_client_hello
from tests.lab.requirements import HIVEXSH, WINE, must_be_complete
from tests.windows.wine import Wine

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("wine"),
    pytest.mark.skipif(not (WINE.is_met() or must_be_complete()), reason="Wine is not installed"),
]

PROTOCOLS = r"HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
WINHTTP = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings\WinHttp"
SOME = r"HKLM\SOFTWARE\Entra TLS test"


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    prefix = Wine(tmp_path_factory.mktemp("wine"))
    try:
        prefix.create()
        yield prefix
    finally:
        prefix.stop()


VALUES = {
    "Enabled": ("REG_DWORD", "0xffffffff", 0xFFFFFFFF),
    "Disabled By Default": ("REG_DWORD", "0", 0),
    "Long": ("REG_QWORD", "0x1122334455667788", 0x1122334455667788),
    'With "quotes" and \\': ("REG_DWORD", "7", 7),
    "Text": ("REG_SZ", "C:\\Program Files", None),
    "Expanded": ("REG_EXPAND_SZ", "%windir%", None),
    "Bytes": ("REG_BINARY", "00ff" * 60, None),
    "Lines": ("REG_MULTI_SZ", "one\\0two", None),
    "a=b": ("REG_DWORD", "11", 11),
}


@pytest.fixture(scope="module")
def exported(wine):
    for name, (kind, data, _number) in VALUES.items():
        wine.set_value(rf"{SOME}\A [b]\Client", name, kind, data)
    wine.set_value(rf"{SOME}\Other", "Enabled", "REG_DWORD", "1")
    return {"export": wine.export(SOME), "query": wine.query(SOME)}


@pytest.mark.parametrize(("form", "read"), [("export", reg_file.read_export), ("query", reg_query.read_export)])
def test_what_was_set_is_read_back(exported, form, read):
    export = read(SourceFile(name="x", data=exported[form]))
    root = SOME.replace("HKLM", "HKEY_LOCAL_MACHINE").upper()
    found = {(each.path, each.name): (each.type, each.number) for each in export.values}
    # Wine's reg query prints a REG_QWORD as bytes, which Windows does not: it is a problem, and no number.
    lost = {"Long"} if form == "query" else set()
    assert found == {
        **{
            (rf"{root}\A [B]\CLIENT", name): (kind, None if name in lost else number)
            for name, (kind, _data, number) in VALUES.items()
        },
        (rf"{root}\OTHER", "Enabled"): ("REG_DWORD", 1),
    }
    # Wine's reg query leaves out a key without values: what it does not print is not taken as covered.
    assert export.roots == ((rf"{root}\A [B]", rf"{root}\OTHER") if form == "query" else (root,))
    assert [words for _place, words in export.problems] == ["REG_QWORD without its number" for _name in lost]


def test_wine_s_own_tree_is_read_without_a_problem(wine):
    for read, data in (
        (reg_file.read_export, wine.export(r"HKLM\System\CurrentControlSet\Control")),
        (reg_query.read_export, wine.query(r"HKLM\System\CurrentControlSet\Control")),
    ):
        export = read(SourceFile(name="x", data=data))
        assert export.problems == ()
        assert len(export.keys) > 50
    names = [
        {(each.path, each.name, each.type, each.number) for each in read(SourceFile(name="x", data=data)).values}
        for read, data in (
            (reg_file.read_export, wine.export(r"HKLM\Software\Microsoft\Windows NT")),
            (reg_query.read_export, wine.query(r"HKLM\Software\Microsoft\Windows NT")),
        )
    ]
    assert names[0] == names[1]


SETTINGS = {
    "tls12-off": {"TLS 1.2": 0},
    "tls12-on": {"TLS 1.2": 1},
    "tls12-only": {"TLS 1.0": 0, "TLS 1.1": 0, "TLS 1.2": 1},
    "tls10-off": {"TLS 1.0": 0, "TLS 1.1": 1, "TLS 1.2": 1},
    "tls10-only": {"TLS 1.0": 1, "TLS 1.1": 0, "TLS 1.2": 0},
    "old-off-as-the-article-and-rfc-8996-have-it": {"SSL 3.0": 0, "TLS 1.0": 0, "TLS 1.1": 0, "TLS 1.2": 0xFFFFFFFF},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_program_on_winhttp_offers_what_the_export_lets_it(wine, name):
    protocols = PROTOCOLS.replace("HKLM", "HKEY_LOCAL_MACHINE")
    lines = [f"[-{protocols}]", f"[{protocols}]"]
    for version, enabled in SETTINGS[name].items():
        lines += [rf"[{protocols}\{version}\Client]", f'"Enabled"=dword:{enabled:08x}']
        lines += [f'"DisabledByDefault"=dword:{int(not enabled):08x}']
    # All bits, so that what Schannel allows is what is offered.
    lines += [f"[{WINHTTP.replace('HKLM', 'HKEY_LOCAL_MACHINE')}]", '"DefaultSecureProtocols"=dword:00000aa0']
    wine.import_values(lines)
    said = _said("reg", wine.export(PROTOCOLS))
    assert said == _said("reg-query", wine.query(PROTOCOLS))
    assert {version.title: state for version, state in said.items()} == {
        version: State.ENABLED if enabled else State.DISABLED for version, enabled in SETTINGS[name].items()
    }
    offered = asyncio.run(_offered(wine))
    for version, state in said.items():
        if state is State.DISABLED:
            assert version not in offered
        # A hello without a list shows its highest version only.
        elif version is TlsVersion.TLS1_2 or TlsVersion.TLS1_2 not in offered:
            assert version in offered


def _said(kind, data):
    """Return what the audit says of the client side where the export has values: {version: state}."""
    source = SourceFile(name="x", data=data)
    importer = choose_importer(source)
    assert importer.id == kind
    reading = importer.read(source, EMPTY_FOLDER, ReadOptions(product_version="2012 R2"))
    (leg,) = [each for each in reading.legs if each.name == "Schannel Client"]
    return {each.version: each.state for each in leg.settings if each.place is not None}


async def _offered(wine):
    """Return the versions that the program's hello offers, as the listener recorded it."""
    exchanges = []
    listener = Listener([("127.0.0.1", 0)], make_identity(addresses=("127.0.0.1",)), on_exchange=exchanges.append)
    await listener.start()
    try:
        ((address, port),) = listener.addresses
        await asyncio.to_thread(wine.fetch, f"https://{address}:{port}/")
    finally:
        await listener.stop()
    hello = decode_client_hello(exchanges[0].received)
    assert isinstance(hello, ClientHello)
    return set(hello.offered())


def test_what_this_needs_is_what_install_sh_brings():
    assert all(each.debian for each in (WINE, HIVEXSH))

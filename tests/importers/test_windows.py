from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.registry_model import RegistryExport, RegistryKey, RegistryValue, SslBinding
from scanner.importers.schannel import PROTOCOLS
from scanner.importers.source import ReadError, ReadOptions
from scanner.importers.windows import judge_export
from scanner.model.checks import CheckState
from scanner.model.declared import Place
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

HKLM = "HKEY_LOCAL_MACHINE"
NET4 = HKLM + r"\SOFTWARE\MICROSOFT\.NETFRAMEWORK\V4.0.30319"
WINHTTP = HKLM + r"\SOFTWARE\MICROSOFT\WINDOWS\CURRENTVERSION\INTERNET SETTINGS\WINHTTP"
PLACE = Place(file="a.reg", line=3)
BOOT = datetime(2026, 11, 1, tzinfo=UTC)


def value(path, name, number, kind="REG_DWORD"):
    return RegistryValue(path=path, name=name, type=kind, number=number, place=PLACE)


def export(*values, keys=(), roots=(HKLM,), **more):
    return RegistryExport(keys=keys, values=values, roots=roots, **more)


def judge(found, version=None):
    return judge_export(found, file="a.reg", sha256="00", importer="reg", options=ReadOptions(product_version=version))


def setting(reading, leg, version):
    found = next(each for each in reading.legs if each.name == leg)
    return found.settings[ALL_VERSIONS.index(version)]


def check(reading, name):
    return next(each for each in reading.checks if each.id == name).state


TLS12 = [
    (PROTOCOLS + rf"\TLS 1.2\{side}", name, n)
    for side in ("CLIENT", "SERVER")
    for name, n in (("Enabled", 0xFFFFFFFF), ("DisabledByDefault", 0))
]


@pytest.mark.parametrize(
    ("version", "tls", "state", "gap"),
    [
        ("2019", TlsVersion.TLS1_2, State.ENABLED, None),
        ("2019", TlsVersion.TLS1_3, State.DISABLED, None),
        ("10.0.17763", TlsVersion.SSL2, State.DISABLED, None),
        ("2012 R2", TlsVersion.TLS1_0, State.ENABLED, None),
        ("2008 R2", TlsVersion.TLS1_2, State.UNKNOWN, GapReason.CONDITIONAL),
        ("2008 SP2", TlsVersion.TLS1_2, State.UNKNOWN, GapReason.CONDITIONAL),
        ("2025", TlsVersion.TLS1_0, State.UNKNOWN, GapReason.CONDITIONAL),
        ("10.0.19045", TlsVersion.TLS1_2, State.UNKNOWN, GapReason.VERSION_UNKNOWN),
        ("10.0.15063", TlsVersion.TLS1_2, State.UNKNOWN, GapReason.VERSION_UNKNOWN),
        ("10.0.26100", TlsVersion.TLS1_2, State.UNKNOWN, GapReason.VERSION_UNKNOWN),
        (None, TlsVersion.TLS1_2, State.UNKNOWN, GapReason.VERSION_UNKNOWN),
    ],
)
def test_absent_values_follow_microsofts_table(version, tls, state, gap):
    found = setting(judge(export(), version), "Schannel Client", tls)
    assert (found.state, found.gap) == (state, gap)
    assert found.state is State.UNKNOWN or found.basis is Basis.ASSUMED


def test_build_26100_with_a_servers_name_is_server_2025():
    reading = judge(export(windows_build="10.0.26100", product_name="Windows Server 2025 Standard"))
    found = setting(reading, "Schannel Server", TlsVersion.TLS1_2)
    assert found.state is State.ENABLED
    assert "live confirmation" in found.reason


@pytest.mark.parametrize(
    ("enabled", "off", "state", "gap"),
    [
        (1, 0, State.ENABLED, None),
        (0xFFFFFFFF, 0, State.ENABLED, None),
        (1, 1, State.UNKNOWN, GapReason.CONDITIONAL),
        (0, 0, State.DISABLED, None),
        (0, 1, State.DISABLED, None),
        (0, None, State.DISABLED, None),
        (1, None, State.UNKNOWN, GapReason.CONDITIONAL),
        (None, 0, State.ENABLED, None),
        (None, 1, State.UNKNOWN, GapReason.CONDITIONAL),
    ],
)
def test_each_pair_of_values_on_server_2008_r2(enabled, off, state, gap):
    pairs = (("ENABLED", enabled), ("DisabledByDefault", off))
    values = [value(PROTOCOLS + r"\TLS 1.2\SERVER", name, number) for name, number in pairs if number is not None]
    found = setting(judge(export(*values), "2008 R2"), "Schannel Server", TlsVersion.TLS1_2)
    assert (found.state, found.gap) == (state, gap)


def test_what_the_file_does_not_cover_is_a_gap():
    reading = judge(export(value(HKLM + r"\SOFTWARE\X", "a", 1), roots=()), "2019")
    assert setting(reading, "Schannel Server", TlsVersion.TLS1_2).gap is GapReason.NOT_IN_FILE
    assert check(reading, "article-dotnet") is CheckState.UNKNOWN


def test_programs_of_which_the_file_covers_nothing_have_no_leg():
    reading = judge(export(roots=(PROTOCOLS,)), "2019")
    assert [leg.name for leg in reading.legs] == ["Schannel Server", "Schannel Client"]


def test_bindings_alone_say_nothing_of_the_registry():
    bound = SslBinding(address=None, port=443, place=PLACE, disabled=frozenset({TlsVersion.TLS1_0}))
    reading = judge(export(roots=(), bindings=(bound,)), "2019")
    assert [leg.name for leg in reading.legs] == ["http.sys binding *:443"]
    assert reading.checks == ()
    states = [(each.state, each.gap) for each in reading.legs[0].settings]
    assert states[2] == (State.DISABLED, None)
    assert states[4] == (State.UNKNOWN, GapReason.NOT_IN_FILE)


def test_an_export_of_nothing_is_refused():
    with pytest.raises(ReadError, match=r"^a\.reg: nothing in it is about TLS$"):
        judge(export(roots=()))


@pytest.mark.parametrize("version", [TlsVersion.SSL2, TlsVersion.TLS1_1, TlsVersion.TLS1_2, TlsVersion.TLS1_3])
def test_what_is_turned_on_is_a_gap_where_windows_may_not_support_it(version):
    values = [
        value(PROTOCOLS + rf"\{version.title}\CLIENT", name, n)
        for name, n in (("Enabled", 1), ("DisabledByDefault", 0))
    ]
    assert setting(judge(export(*values)), "Schannel Client", version).gap is GapReason.VERSION_UNKNOWN


def test_a_value_of_another_type_is_a_gap():
    wrong = value(PROTOCOLS + r"\TLS 1.2\CLIENT", "Enabled", None, "REG_SZ")
    found = setting(judge(export(wrong), "2019"), "Schannel Client", TlsVersion.TLS1_2)
    assert found.gap is GapReason.UNSUPPORTED
    assert "no REG_DWORD" in found.reason


def test_a_file_that_deletes_the_key_leaves_the_default():
    path = PROTOCOLS + r"\TLS 1.2\CLIENT"
    key = RegistryKey(path=path, place=Place(file="a.reg", line=9), is_deletion=True)
    found = setting(
        judge(export(value(path, "Enabled", 0), keys=(key,), roots=()), "2019"), "Schannel Client", TlsVersion.TLS1_2
    )
    assert (found.state, found.basis) == (State.ENABLED, Basis.ASSUMED)


def test_system_default_tls_versions_leaves_the_choice_to_schannel():
    found = judge(export(value(NET4, "SystemDefaultTlsVersions", 1), *(value(*each) for each in TLS12)), "2019")
    assert setting(found, ".NET Framework 4 (64-bit)", TlsVersion.TLS1_2).state is State.ENABLED


def test_dotnet_2_has_a_leg_where_its_key_is_there():
    net2 = HKLM + r"\SOFTWARE\WOW6432NODE\MICROSOFT\.NETFRAMEWORK\V2.0.50727"
    reading = judge(export(value(net2, "SystemDefaultTlsVersions", 1)), "2019")
    assert setting(reading, ".NET Framework 2 (32-bit)", TlsVersion.TLS1_2).state is State.ENABLED
    assert ".NET Framework 2 (64-bit)" not in [leg.name for leg in reading.legs]


def test_the_article_is_followed_with_all_five_values_only():
    four = [value(*each) for each in TLS12]
    reading = judge(export(*four), "2019")
    assert check(reading, "article-schannel-client") is CheckState.YES
    assert check(reading, "article-schannel-server") is CheckState.YES
    assert check(reading, "article-dotnet") is CheckState.NO
    assert check(judge(export(*four, value(NET4, "SchUseStrongCrypto", 1))), "article-dotnet") is CheckState.YES


def test_a_value_at_the_misprinted_path_does_not_count():
    misprint = HKLM + r"\SOFTWARE\MICROSOFT.NETFRAMEWORK\V4.0.30319"
    reading = judge(export(value(misprint, "SchUseStrongCrypto", 1)))
    assert check(reading, "article-misprinted-dotnet-path") is CheckState.YES
    assert check(reading, "article-dotnet") is CheckState.NO
    assert check(judge(export()), "article-misprinted-dotnet-path") is CheckState.NO


def test_a_binding_flag_beats_the_registry():
    flagged = SslBinding(
        address=None, port=443, server_name="sts.example.com", place=PLACE, disabled=frozenset({TlsVersion.TLS1_2})
    )
    leg = "http.sys binding sts.example.com:443"
    reading = judge(export(*(value(*each) for each in TLS12), bindings=(flagged,)), "2019")
    assert setting(reading, leg, TlsVersion.TLS1_2).state is State.DISABLED
    assert setting(reading, leg, TlsVersion.TLS1_1).state is State.ENABLED


def test_winhttp_has_tls_1_2_on_server_2012_only_with_its_bit():
    leg = "WinHTTP default (64-bit)"
    assert setting(judge(export(), "2012"), leg, TlsVersion.TLS1_2).gap is GapReason.CONDITIONAL
    with_bit = judge(export(value(WINHTTP, "DefaultSecureProtocols", 0xA00)), "2012")
    assert setting(with_bit, leg, TlsVersion.TLS1_2).state is State.ENABLED


def test_dotnet_4_without_values_depends_on_the_programs_target():
    leg = ".NET Framework 4 (64-bit)"
    assert setting(judge(export(), "2019"), leg, TlsVersion.TLS1_2).gap is GapReason.CONDITIONAL
    strong = judge(export(value(NET4, "SchUseStrongCrypto", 1)), "2019")
    assert setting(strong, leg, TlsVersion.TLS1_2).state is State.ENABLED


@pytest.mark.parametrize(("hours", "state"), [(1, CheckState.YES), (-1, CheckState.NO), (None, CheckState.UNKNOWN)])
def test_a_key_written_after_the_last_boot_means_a_restart_is_pending(hours, state):
    at = None if hours is None else BOOT + timedelta(hours=hours)
    key = RegistryKey(path=PROTOCOLS + r"\TLS 1.2\CLIENT", place=PLACE, written_at=at)
    assert check(judge(export(keys=(key,), last_boot_at=BOOT)), "restart-pending") is state


def test_tls_1_0_turned_on_is_told_with_its_place():
    reading = judge(export(value(PROTOCOLS + r"\TLS 1.0\SERVER", "Enabled", 1)))
    found = next(each for each in reading.checks if each.id == "config-allows-old")
    assert found.detail == "a.reg:3"


KEYS = [PROTOCOLS + rf"\{v.title}\{side}" for v in ALL_VERSIONS for side in ("CLIENT", "SERVER")] + [NET4, WINHTTP]
VALUES = st.builds(
    value,
    st.sampled_from(KEYS),
    st.sampled_from(["Enabled", "DisabledByDefault", "SchUseStrongCrypto", "DefaultSecureProtocols", ""]),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 1]),
    st.sampled_from(["REG_DWORD", "REG_SZ", "(deleted)"]),
)


@given(st.lists(VALUES, max_size=20), st.sampled_from([(), (HKLM,)]), st.none() | st.text())
def test_without_a_version_only_enabled_0_turns_anything_off(values, roots, version):
    found = export(value(HKLM, "a", 1), *values, roots=roots, windows_build="?")
    reading = judge(found, version)
    zeros = {each.path for each in values if each.name == "Enabled" and each.number == 0}
    for leg in reading.legs:
        assert len(leg.settings) == 6
        side = "SERVER" if leg.name == "Schannel Server" else "CLIENT"
        for each in leg.settings:
            if each.state is State.DISABLED:
                assert PROTOCOLS + rf"\{each.version.title}\{side}" in zeros

"""What lines say of versions. Expected: what stunnel 5.68 with OpenSSL 3.0 did with ``ciphers = ALL:@SECLEVEL=0``."""

import pytest

from scanner.importers.claims import settle_claims
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, SourceFile
from scanner.importers.stunnel_services import claim_of, parse_version, read_stunnel_lines, services_of
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
LABELS = {"1.0": TLS1_0, "1.1": TLS1_1, "1.2": TLS1_2, "1.3": TLS1_3}
V568 = (5, 68)


def services(text, folder=EMPTY_FOLDER):
    found = read_stunnel_lines(SourceFile(name="s.conf", data=text.encode()), folder)
    return services_of(found.lines, found.missing)


def settle(service, version=V568):
    return {each.version: each for each in settle_claims([claim_of(service, version)])}


def outcomes(lines, before="", version=V568, ciphers="ciphers = ALL:@SECLEVEL=0"):
    (*_, service) = services(f"{before}\n[s]\n{ciphers}\n{lines}\n")
    return {each: found.gap or found.state for each, found in settle(service, version).items()}


def assert_measured(found, measured, unknown=()):
    for label, version in LABELS.items():
        if label in unknown:
            assert found[version] is GapReason.LIBRARY_POLICY
        else:
            assert found[version] is (State.ENABLED if label in measured.split() else State.DISABLED)


@pytest.mark.parametrize(
    ("lines", "measured"),
    [
        ("", "1.0 1.1 1.2 1.3"),
        ("sslVersion = TLSv1.2", "1.2"),
        ("sslVersion = TLSv1.3", "1.3"),
        ("sslVersionMin = TLSv1.2", "1.2 1.3"),
        ("sslVersionMin = TLSv1.2\nsslVersionMin = TLSv1.1", "1.1 1.2 1.3"),
        ("sslVersionMax = TLSv1.1", "1.0 1.1"),
        ("sslVersion = TLSv1.2\nsslVersionMin = TLSv1", "1.0 1.1 1.2"),
        ("sslVersionMin = TLSv1\nsslVersion = TLSv1.2", "1.2"),
        ("sslVersion = TLSv1.2\nsslVersionMax = all", "1.2 1.3"),
        ("options = NO_TLSv1_2", "1.0 1.1 1.3"),
        ("options = NO_TLSv1\noptions = NO_TLSv1_1", "1.2 1.3"),
        ("options = NO_TLSv1\noptions = -NO_TLSv1", "1.0 1.1 1.2 1.3"),
        ("options = -NO_TLSv1\noptions = NO_TLSv1", "1.0 1.1 1.2 1.3"),
        ("options = NO_TLSv1_3", "1.0 1.1 1.2"),
        ("options = ALL", "1.0 1.1 1.2 1.3"),
        ("sslVersionMin = tlsv1.2", "1.2 1.3"),
        ("SSLVERSIONMIN=TLSv1.2", "1.2 1.3"),
        ("config = MinProtocol:TLSv1.2", "1.2 1.3"),
        ("config = minprotocol:TLSv1.2", "1.2 1.3"),
        ("config = MaxProtocol:TLSv1.1", "1.0 1.1"),
        ("config = MinProtocol:TLSv1.3\nsslVersionMin = TLSv1", "1.3"),
        ("sslVersionMin = TLSv1\nconfig = MinProtocol:TLSv1.3", "1.3"),
        ("config = MinProtocol:TLSv1\nsslVersionMin = TLSv1.3", "1.0 1.1 1.2 1.3"),
        ("config = MaxProtocol:TLSv1.2\nconfig = MinProtocol:TLSv1.2", "1.2"),
        ("config = MinProtocol:TLSv1.2\nconfig = MinProtocol:TLSv1.1", "1.1 1.2 1.3"),
        ("config = Options:-SessionTicket", "1.0 1.1 1.2 1.3"),
        ("securityLevel = 2", "1.0 1.1 1.2 1.3"),
        ("ciphers = ALL\nsecurityLevel = 0", "1.0 1.1 1.2 1.3"),
        ("; sslVersion = TLSv1.1\n# sslVersion = TLSv1.1", "1.0 1.1 1.2 1.3"),
    ],
)
def test_a_service_of_stunnel_5_68_has_what_was_measured(lines, measured):
    found = outcomes(lines)
    assert_measured(found, measured)
    assert (found[SSL2], found[SSL3]) == (State.DISABLED, State.DISABLED)


@pytest.mark.parametrize(
    ("before", "lines", "measured"),
    [
        ("sslVersionMin = TLSv1.2", "", "1.2 1.3"),
        ("sslVersionMin = TLSv1.2", "sslVersionMin = TLSv1", "1.0 1.1 1.2 1.3"),
        ("sslVersion = TLSv1.2", "sslVersionMin = TLSv1.1", "1.1 1.2"),
        ("sslVersionMax = TLSv1.2", "sslVersionMin = TLSv1.2", "1.2"),
        ("config = MinProtocol:TLSv1.2", "", "1.2 1.3"),
        ("config = MinProtocol:TLSv1.2", "config = MaxProtocol:TLSv1.2", "1.2"),
        ("options = NO_TLSv1_3", "", "1.0 1.1 1.2"),
        ("options = NO_TLSv1_3", "options = -NO_TLSv1_3", "1.0 1.1 1.2 1.3"),
        ("options = -NO_TLSv1_3", "options = NO_TLSv1_3", "1.0 1.1 1.2 1.3"),
        ("options = NO_TLSv1_3", "options = NO_TLSv1", "1.1 1.2"),
    ],
)
def test_a_service_takes_what_stands_before_the_first_section(before, lines, measured):
    assert_measured(outcomes(lines, before), measured)


@pytest.mark.parametrize(
    ("lines", "measured", "unknown"),
    [
        ("", "1.0 1.1 1.2 1.3", ""),
        ("sslVersionMin = TLSv1.2", "1.2 1.3", ""),
        ("sslVersion = TLSv1.1", "1.1", ""),
        ("sslVersionMax = TLSv1.2", "1.0 1.1 1.2", ""),
        ("options = NO_TLSv1\noptions = NO_TLSv1_1", "1.2 1.3", ""),
        ("options = NO_TLSv1_3", "1.0 1.1 1.2", ""),
        ("sslVersionMin = TLSv1.2\noptions = NO_TLSv1_2", "1.3", ""),
        # Measured: the client offers TLS 1.0 alone; 1.0 and 1.1; 1.1 alone.
        ("options = NO_TLSv1_1", "1.0", "1.2 1.3"),
        ("options = NO_TLSv1_2", "1.0 1.1", "1.3"),
        ("options = NO_TLSv1\noptions = NO_TLSv1_2", "1.1", "1.3"),
    ],
)
def test_a_client_is_not_said_to_offer_what_is_above_a_hole(lines, measured, unknown):
    assert_measured(outcomes(f"client = yes\n{lines}"), measured, unknown.split())


@pytest.mark.parametrize(
    "lines",
    [
        "sslVersionMin = TLSv1.0",
        "sslVersionMin = TLSv1.2 ; comment",
        'sslVersionMin = "TLSv1.2"',
        "sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.1",
        "sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.1\nconfig = MinProtocol:TLSv1",
        "options = NO_SSL_MASK",
        "config = Protocol:-ALL,TLSv1.2",
        "config = MinProtocol:bogus",
        "config = MinProtocol:tlsv1.2",
    ],
)
def test_what_stunnel_refuses_or_is_not_understood_is_a_gap(lines):
    assert set(outcomes(lines).values()) == {GapReason.UNSUPPORTED}


@pytest.mark.parametrize(
    ("lines", "ciphers"),
    [
        ("", ""),
        ("", "ciphers = ALL"),
        ("config = CipherString:ALL@SECLEVEL=2", "ciphers = ALL:@SECLEVEL=0"),
        ("sslVersionMin = all", "ciphers = ALL:@SECLEVEL=0"),
    ],
)
def test_old_versions_are_left_to_the_library_unless_level_0_and_a_lowest_version_are_sure(lines, ciphers):
    found = outcomes(lines, ciphers=ciphers)
    assert [found[each] for each in (TLS1_0, TLS1_1, TLS1_2)] == [GapReason.LIBRARY_POLICY] * 2 + [State.ENABLED]


def test_the_default_cipher_list_has_old_suites_at_level_0():
    assert outcomes("securityLevel = 0", ciphers="")[TLS1_0] is State.ENABLED


def test_ssl_2_and_3_are_off_by_default_since_5_06():
    assert [outcomes("", version=(5, 6))[each] for each in (SSL2, SSL3)] == [State.DISABLED] * 2
    assert [outcomes("", version=(5, 5))[each] for each in (SSL2, SSL3)] == [GapReason.LIBRARY_POLICY] * 2
    assert [outcomes("", version=None)[each] for each in (SSL2, SSL3)] == [GapReason.VERSION_UNKNOWN] * 2
    assert [outcomes("sslVersion = TLSv1.2", version=None)[each] for each in (SSL2, SSL3)] == [State.DISABLED] * 2
    assert [outcomes("sslVersionMax = all", version=None)[each] for each in (SSL2, SSL3)] == [State.DISABLED] * 2


def test_ssl_3_that_is_cleared_and_in_range_is_left_to_the_library():
    found = outcomes("sslVersionMin = SSLv3\noptions = -NO_SSLv3")
    assert (found[SSL2], found[SSL3]) == (State.DISABLED, GapReason.LIBRARY_POLICY)
    assert outcomes("options = -NO_SSLv3")[SSL3] is State.DISABLED
    assert outcomes("options = -NO_SSLv3", version=(5, 30))[SSL3] is GapReason.LIBRARY_POLICY


def test_tls_1_3_is_not_sure_before_5_45():
    assert outcomes("", version=(5, 44))[TLS1_3] is GapReason.LIBRARY_POLICY


def test_names_of_options_with_a_dot_are_of_older_programs():
    assert outcomes("options = NO_TLSv1.1", version=(5, 30))[TLS1_1] is State.DISABLED


def test_a_default_is_assumed_and_a_line_is_declared():
    (*_, plain, set_) = services("[a]\naccept = 1\n[b]\nsslVersionMin = TLSv1.2\n")
    assert {each.basis for each in settle(plain).values()} == {Basis.ASSUMED}
    assert {(each.basis, each.place.line) for each in settle(set_).values()} == {(Basis.DECLARED, 4)}


def test_an_included_folder_is_read_in_order_and_may_hold_sections():
    folder = MemoryFolder({"conf.d/b.conf": b"[b]\naccept = 2\n", "conf.d/a.conf": b"sslVersionMin = TLSv1.2\n"})
    found = services("[a]\ninclude = /conf.d/\nsslVersionMax = TLSv1.2\n", folder)
    assert [(each.name, each.low, each.high) for each in found[1:]] == [("a", TLS1_2, None), ("b", None, TLS1_2)]


@pytest.mark.parametrize("path", ["gone", "/elsewhere", "../x", "", "*"])
def test_an_include_that_is_missing_is_known_to_all_behind_it(path):
    folder = MemoryFolder({"a.conf": b"[x]\n"}, root="/etc/stunnel")
    found = services(f"include = {path}\n[a]\n", folder)
    assert [each.missing_at.line for each in found] == [1, 1]
    found = services(f"[a]\ninclude = {path}\n[b]\n", folder)
    assert [each.missing_at is None for each in found] == [True, False, True]


@pytest.mark.parametrize("text", ["no equals sign\n", "include = d\n"])
def test_a_line_without_equals_sign_and_endless_includes_are_refused(text):
    with pytest.raises(ReadError):
        services(text, MemoryFolder({"d/a": b"include = d\ninclude = d\n"}))


def test_more_services_than_any_real_file_has_are_refused():
    with pytest.raises(ReadError):
        services("[a]\n" * 20_002)


@pytest.mark.parametrize(
    ("text", "numbers"), [("5.68", (5, 68)), ("stunnel 5.68 on x", (5, 68)), ("", None), (None, None)]
)
def test_a_product_version_is_read(text, numbers):
    assert parse_version(text) == numbers

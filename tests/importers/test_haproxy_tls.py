"""What words say of versions. Expected: what HAProxy 2.6.12 with OpenSSL 3.0 did on bind and server lines with
``ciphers ALL:@SECLEVEL=0``, asked with TLS 1.0 to 1.3. That OpenSSL has no SSL 3.0."""

import pytest

from scanner.importers.claims import settle_claims
from scanner.importers.haproxy_lines import split_words
from scanner.importers.haproxy_tls import Options, claim_of, take_words
from scanner.model.declared import Place
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

HERE = Place(file="h", line=1)
SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
LABELS = {"1.0": TLS1_0, "1.1": TLS1_1, "1.2": TLS1_2, "1.3": TLS1_3}
V26 = (2, 6, 12)


def settle(words, kind, shared="", version=V26):
    options = take_words(Options(), split_words(shared), HERE, "options")
    line = split_words(f"ssl ciphers ALL:@SECLEVEL=0 {words}")
    if kind == "bind":
        found = take_words(Options(), line, HERE, kind, shared=options)
    else:
        found = take_words(Options(), line, HERE, kind).beside(options)
    return {each.version: each for each in settle_claims([claim_of(found, kind, version, HERE)])}


def outcomes(*args, **kwargs):
    return {version: each.gap or each.state for version, each in settle(*args, **kwargs).items()}


def assert_measured(found, measured, unknown=frozenset()):
    for label, version in LABELS.items():
        if label in unknown:
            assert found[version] is GapReason.LIBRARY_POLICY
        else:
            assert found[version] is (State.ENABLED if label in measured.split() else State.DISABLED)
    assert found[SSL2] is State.DISABLED


@pytest.mark.parametrize(
    ("words", "shared", "measured"),
    [
        ("", "", "1.2 1.3"),
        ("ssl-min-ver TLSv1.0", "", "1.0 1.1 1.2 1.3"),
        ("ssl-min-ver SSLv3", "", "1.0 1.1 1.2 1.3"),
        ("ssl-max-ver TLSv1.1", "", "1.1"),
        ("ssl-max-ver TLSv1.2", "", "1.2"),
        ("ssl-min-ver TLSv1.3", "", "1.3"),
        ("ssl-min-ver TLSv1.2 ssl-min-ver TLSv1.1", "", "1.1 1.2 1.3"),
        ("force-tlsv12", "", "1.2"),
        ("force-tlsv10", "", "1.0"),
        ("force-tlsv12 ssl-min-ver TLSv1.0", "", "1.0 1.1 1.2"),
        ("ssl-min-ver TLSv1.0 force-tlsv12", "", "1.2"),
        ("no-tlsv12", "", "1.3"),
        ("no-tlsv10 no-tlsv11", "", "1.2 1.3"),
        ("no-tlsv10", "", "1.2 1.3"),
        ("no-tlsv13", "", "1.2"),
        ("no-tlsv12 ssl-min-ver TLSv1.0", "", "1.0 1.1 1.2 1.3"),
        ('ssl-min-ver "TLSv1.0"', "", "1.0 1.1 1.2 1.3"),
        ("", "ssl-min-ver TLSv1.0", "1.0 1.1 1.2 1.3"),
        ("ssl-min-ver TLSv1.3", "ssl-min-ver TLSv1.0", "1.3"),
        ("", "no-tlsv12", "1.3"),
        ("ssl-max-ver TLSv1.3", "no-tlsv12", "1.2 1.3"),
        ("", "ssl-max-ver TLSv1.1", "1.1"),
        ("no-tlsv12", "ssl-max-ver TLSv1.2", "1.2"),
        ("", "ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2", "1.0 1.1 1.2"),
        ("ssl-min-ver TLSv1.0", "force-tlsv12", "1.0 1.1 1.2"),
        ("no-tlsv12", "no-sslv3", "1.3"),
        ("", "no-tlsv10 no-tlsv12", "1.3"),
        ("crt no-tlsv12 name ssl-min-ver", "", "1.2 1.3"),
    ],
)
def test_a_bind_line_of_haproxy_2_6_has_what_was_measured(words, shared, measured):
    assert_measured(outcomes(words, "bind", shared), measured)


@pytest.mark.parametrize(
    ("words", "shared", "measured", "unknown"),
    [
        ("", "", "1.0 1.1 1.2 1.3", ""),
        ("ssl-min-ver TLSv1.2", "", "1.2 1.3", ""),
        ("ssl-max-ver TLSv1.1", "", "1.0 1.1", ""),
        ("force-tlsv12", "", "1.2", ""),
        ("force-tlsv12 ssl-min-ver TLSv1.0", "", "1.0 1.1 1.2", ""),
        ("no-tlsv11", "", "1.0 1.1 1.2 1.3", ""),
        ("no-tlsv12", "", "1.0 1.1 1.2 1.3", ""),
        ("no-tlsv13", "", "1.0 1.1 1.2", ""),
        ("no-tlsv12 ssl-max-ver TLSv1.3", "", "1.0 1.1 1.2 1.3", ""),
        # Measured without SSL 3.0 in the library: 1.1 1.2 1.3. With it, TLS 1.0 is a hole that is filled.
        ("no-tlsv10", "", "1.1 1.2 1.3", "1.0"),
        ("no-sslv3 no-tlsv10", "", "1.1 1.2 1.3", ""),
        ("no-tlsv10 no-tlsv11", "", "1.2 1.3", "1.0 1.1"),
        ("no-sslv3 no-tlsv10 no-tlsv11", "", "1.2 1.3", ""),
        ("no-sslv3 no-tlsv10 no-tlsv12", "", "1.1 1.2 1.3", ""),
        ("no-tlsv12", "no-tlsv13", "1.0 1.1", ""),
        ("", "ssl-min-ver TLSv1.2", "1.2 1.3", ""),
        ("ssl-min-ver TLSv1.0", "ssl-min-ver TLSv1.2", "1.0 1.1 1.2 1.3", ""),
        ("no-tlsv13", "ssl-min-ver TLSv1.2", "1.2 1.3", ""),
        ("no-sslv3 no-tlsv10", "no-tlsv11", "1.2 1.3", ""),
        ("ssl-max-ver TLSv1.3", "force-tlsv12", "1.2 1.3", ""),
    ],
)
def test_a_server_line_of_haproxy_2_6_has_what_was_measured(words, shared, measured, unknown):
    assert_measured(outcomes(words, "server", shared), measured, unknown.split())


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.1", "bind"),
        ("no-tlsv12 no-tlsv13", "bind"),
        ("ssl-min-ver TLSv1", "bind"),
        ("ssl-min-ver tlsv1.2", "bind"),
        ("ssl-min-ver ${X}", "bind"),
        ('ssl-min-ver "$X"', "server"),
        ('"${OPTIONS[*]}"', "server"),
        ("ssl-min-ver", "server"),
    ],
)
def test_what_haproxy_refuses_and_what_a_variable_holds_is_unsupported(words, kind):
    assert set(outcomes(words, kind).values()) == {GapReason.UNSUPPORTED}


def test_words_behind_a_variable_that_may_be_many_words_count():
    found = outcomes('"${OPTIONS[*]}" ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2', "server")
    assert_measured(found, "1.2")


def test_the_default_of_a_bind_line_depends_on_the_version():
    unknown = outcomes("", "bind", version=None)
    assert [unknown[v] for v in (TLS1_0, TLS1_1)] == [GapReason.VERSION_UNKNOWN] * 2
    assert [unknown[v] for v in (SSL2, SSL3, TLS1_2, TLS1_3)] == [State.DISABLED] * 2 + [State.ENABLED] * 2
    assert_measured(outcomes("", "bind", version=(2, 1, 0)), "1.0 1.1 1.2 1.3")
    assert outcomes("ssl-max-ver TLSv1.1", "bind", version=None)[TLS1_0] is GapReason.VERSION_UNKNOWN
    assert outcomes("ssl-min-ver TLSv1.2", "bind", version=None)[TLS1_0] is State.DISABLED


def test_haproxy_before_1_8_is_not_read():
    assert set(outcomes("", "bind", version=(1, 7, 9)).values()) == {GapReason.UNSUPPORTED}


def test_without_security_level_0_old_versions_are_left_to_the_library():
    found = take_words(Options(), split_words("ssl ssl-min-ver TLSv1.0"), HERE, "bind", shared=Options())
    states = {each.version: each.gap or each.state for each in settle_claims([claim_of(found, "bind", V26, HERE)])}
    assert [states[v] for v in (TLS1_0, TLS1_1, TLS1_2)] == [GapReason.LIBRARY_POLICY] * 2 + [State.ENABLED]


def test_ssl_3_is_never_more_than_allowed():
    assert outcomes("ssl-min-ver SSLv3", "bind")[SSL3] is GapReason.LIBRARY_POLICY
    assert outcomes("", "server")[SSL3] is GapReason.LIBRARY_POLICY
    assert outcomes("no-sslv3", "server")[SSL3] is State.DISABLED


def test_a_default_is_assumed_and_a_word_is_declared():
    assert {each.basis for each in settle("", "server").values()} == {Basis.ASSUMED}
    assert {each.basis for each in settle("no-sslv3", "server").values()} == {Basis.DECLARED}
    assert {each.basis for each in settle("", "server", "ssl-min-ver TLSv1.2").values()} == {Basis.DECLARED}


def test_all_six_versions_are_settled():
    assert set(outcomes("", "server")) == set(TlsVersion)

"""Expected values: f5-ansible and terraform-provider-bigip (options are subtractive, a profile's own set replaces the
parent's, default ``dont-insert-empty-fragments no-tlsv1.3``); cipher strings: F5's article "Cipher Suite Practices and
Pitfalls", where ``!`` takes away for good and ``-`` may be added again."""

import pytest

from scanner.importers.f5_profiles import BUILT_IN, F5Config, full_name, judge_ciphers, resolve_profile, settle_profile
from scanner.importers.f5_tree import parse_f5
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS


def profile(name, body):
    return f"ltm profile client-ssl /Common/{name} {{\n{body}\n}}\n"


def settle(text, name, version=(15, 1)):
    config = F5Config(file="b", version=version)
    for node in parse_f5(text, "b"):
        config.profiles["client-ssl", full_name(node.words[3])] = node
    settings, _ = settle_profile(resolve_profile(config, "client-ssl", full_name(name)))
    return dict(zip(ALL_VERSIONS, settings, strict=True))


def test_a_flag_takes_its_version_away_and_the_others_stay():
    found = settle(profile("a", "options { no-sslv3 no-tlsv1 no-tlsv1.1 }"), "a")
    assert [found[each].state for each in (SSL3, TLS1_0, TLS1_1)] == [State.DISABLED] * 3
    assert (found[TLS1_2].state, found[TLS1_0].basis, found[TLS1_0].place.line) == (State.ENABLED, Basis.DECLARED, 2)


def test_no_tlsv1_2_takes_tls_1_2_away():
    assert settle(profile("a", "options { no-tlsv1.2 }"), "a")[TLS1_2].state is State.DISABLED


def test_a_profile_without_options_has_the_whole_set_of_its_parent():
    text = (
        profile("a", "options { no-tlsv1 }") + profile("b", "defaults-from /Common/a") + profile("c", "defaults-from b")
    )
    found = settle(text, "c")[TLS1_0]
    assert (found.state, found.place.line) == (State.DISABLED, 2)


@pytest.mark.parametrize("own", ["options { no-sslv3 }", "options { }", "options none"])
def test_options_of_its_own_replace_the_parents(own):
    text = profile("a", "options { no-tlsv1 }") + profile("b", f"defaults-from /Common/a\n{own}")
    assert settle(text, "b")[TLS1_0].state is not State.DISABLED


def test_the_built_in_parent_takes_tls_1_3_away_which_is_assumed():
    found = settle(profile("a", "defaults-from /Common/clientssl"), "a")
    assert (found[TLS1_3].state, found[TLS1_3].basis) == (State.DISABLED, Basis.ASSUMED)
    assert (found[TLS1_2].state, found[TLS1_2].basis) == (State.ENABLED, Basis.ASSUMED)
    assert found[TLS1_0].gap is GapReason.VERSION_UNKNOWN


def test_the_built_in_parent_of_an_unknown_release_is_a_gap():
    assert settle(profile("a", ""), "a", None)[TLS1_3].gap is GapReason.VERSION_UNKNOWN


def test_a_parent_that_is_not_in_the_file_is_a_gap():
    found = settle(profile("a", "defaults-from /Common/elsewhere"), "a")
    assert {each.gap for each in found.values()} == {GapReason.NOT_IN_FILE}


def test_own_options_hold_though_the_parent_is_not_in_the_file():
    found = settle(profile("a", "defaults-from /Common/elsewhere\noptions { no-tlsv1 }"), "a")
    assert (found[TLS1_0].state, found[TLS1_2].gap) == (State.DISABLED, GapReason.NOT_IN_FILE)


def test_own_options_and_ciphers_hold_though_the_parent_is_not_in_the_file():
    found = settle(profile("a", "defaults-from /Common/elsewhere\nciphers DEFAULT\noptions { no-tlsv1 }"), "a")
    assert (found[TLS1_0].state, found[TLS1_2].state) == (State.DISABLED, State.ENABLED)


def test_profiles_that_are_each_others_parent_are_a_gap():
    text = profile("a", "defaults-from /Common/b") + profile("b", "defaults-from /Common/a")
    assert {each.gap for each in settle(text, "a").values()} == {GapReason.UNSUPPORTED}


def test_the_built_in_profile_as_the_file_changes_it_counts():
    text = profile("clientssl", "options { no-tlsv1 }") + profile("a", "defaults-from /Common/clientssl")
    assert settle(text, "a")[TLS1_0].state is State.DISABLED
    assert BUILT_IN["client-ssl"] == "/Common/clientssl"


def test_a_cipher_group_is_a_gap_for_what_options_leave_on():
    found = settle(profile("a", "cipher-group /Common/own\nciphers none\noptions { no-tlsv1 }"), "a")
    assert (found[TLS1_0].state, found[TLS1_2].gap) == (State.DISABLED, GapReason.UNSUPPORTED)


def test_the_built_in_cipher_group_f5_secure_has_tls_1_2():
    found = settle(profile("a", "cipher-group /Common/f5-secure\nciphers none\noptions { no-tlsv1 }"), "a")
    assert found[TLS1_2].state is State.ENABLED


def test_a_cipher_string_takes_away_what_options_leave_on():
    found = settle(profile("a", "ciphers DEFAULT:!TLSv1:!TLSv1_2\noptions { no-sslv3 }"), "a")
    assert [found[each].state for each in (TLS1_0, TLS1_2)] == [State.DISABLED] * 2
    assert (found[TLS1_2].basis, found[TLS1_2].place.line) == (Basis.DECLARED, 2)


def test_a_profile_with_mode_disabled_has_no_tls_of_its_own():
    found = settle(profile("a", "mode disabled\noptions { no-tlsv1 }"), "a")
    assert {each.gap for each in found.values()} == {GapReason.TUNNEL}


def test_a_profile_on_one_line_is_a_gap():
    found = settle("ltm profile client-ssl /Common/a { options { no-tlsv1 } }\n", "a")
    assert {each.gap for each in found.values()} == {GapReason.UNSUPPORTED}


def test_no_tls_is_a_gap_for_every_tls_version():
    found = settle(profile("a", "options { no-tls no-sslv3 }"), "a")
    assert (found[SSL3].state, found[TLS1_2].gap) == (State.DISABLED, GapReason.UNSUPPORTED)


@pytest.mark.parametrize(
    ("text", "version", "expected"),
    [
        ("DEFAULT", TlsVersion.TLS1_2, True),
        ("DEFAULT:!SSLv3:!TLSv1", TlsVersion.TLS1_2, True),
        ("DEFAULT:!TLSv1", TlsVersion.TLS1_0, False),
        ("DEFAULT:!TLSv1", TlsVersion.TLS1_1, None),
        ("default:!tlsv1_1", TlsVersion.TLS1_1, False),
        ("NATIVE:-TLSv1", TlsVersion.TLS1_0, False),
        ("NATIVE:-TLSv1:RC4-SHA", TlsVersion.TLS1_0, None),
        ("TLSv1:TLSv1_2", TlsVersion.TLS1_0, True),
        ("DEFAULT:!AES", TlsVersion.TLS1_2, None),
        ("ECDHE-RSA-AES128-GCM-SHA256", TlsVersion.TLS1_0, None),
        ("", TlsVersion.TLS1_2, None),
        ("none", TlsVersion.TLS1_2, None),
    ],
)
def test_a_cipher_string_has_suites_of_a_version_or_none_or_that_is_not_known(text, version, expected):
    assert judge_ciphers(text, version)[0] is expected


@pytest.mark.parametrize("body", ["ciphers " + "A:" * 4096, "options { " + "no-tlsv1 " * 101 + "}"])
def test_what_is_too_long_to_be_looked_into_is_a_gap(body):
    found = settle(profile("a", f"options {{ no-sslv3 }}\n{body}"), "a")
    assert found[TLS1_2].gap is GapReason.UNSUPPORTED
    assert "too long" in found[TLS1_2].reason


def test_a_chain_of_50_000_parents_is_followed_without_recursion():
    text = profile("p0", "options { no-tlsv1 }")
    text += "".join(profile(f"p{at}", f"defaults-from /Common/p{at - 1}") for at in range(1, 50_000))
    assert settle(text, "p49999")[TLS1_0].state is State.DISABLED

import pytest

from scanner.importers.claims import ALL, Claim, LineTally, blank_claim, check_old_versions, settle_claims
from scanner.model.declared import LineState, Place
from scanner.model.evidence import GapReason, State
from scanner.model.versions import TlsVersion

PLACE = Place(file="x", line=1)
V12 = TlsVersion.TLS1_2


def claim(*allowed, **more):
    return Claim(allowed=frozenset(allowed), reason="said.", place=PLACE, **more)


def outcomes(*claims):
    return {setting.version: setting.gap or setting.state for setting in settle_claims(claims)}


def test_what_is_left_out_is_disabled_and_tls_1_2_that_is_left_in_enabled():
    got = outcomes(claim(V12))
    assert got.pop(V12) is State.ENABLED
    assert set(got.values()) == {State.DISABLED}


def test_old_versions_that_are_left_in_are_the_librarys_to_refuse_unless_it_is_told_not_to():
    assert outcomes(claim(*ALL))[TlsVersion.TLS1_0] is GapReason.LIBRARY_POLICY
    lowered = outcomes(claim(*ALL, is_old_served=True))
    assert lowered[TlsVersion.TLS1_0] is State.ENABLED
    assert lowered[TlsVersion.SSL3] is GapReason.LIBRARY_POLICY


def test_claims_that_agree_on_a_version_settle_it_and_others_are_conditional():
    got = outcomes(claim(V12), claim(V12, TlsVersion.TLS1_3))
    assert (got[V12], got[TlsVersion.TLS1_3]) == (State.ENABLED, GapReason.CONDITIONAL)


def test_a_missing_include_is_the_reason_where_it_may_decide():
    missing = blank_claim(GapReason.INCLUDE_MISSING, "missing.", PLACE)
    assert outcomes(claim(V12), missing)[V12] is GapReason.INCLUDE_MISSING


@pytest.mark.parametrize(("version", "count"), [(TlsVersion.TLS1_1, 1), (V12, 0), (TlsVersion.SSL2, 0)])
def test_the_check_names_places_that_leave_old_versions_on(version, count):
    assert len(check_old_versions([claim(version)])) == count


def test_at_most_200_notes_are_kept_and_all_lines_counted():
    tally = LineTally()
    for _ in range(300):
        tally.count(LineState.UNRECOGNISED, PLACE, "x")
    assert len(tally.notes) == 200
    assert dict(tally.counts)[LineState.UNRECOGNISED] == 300

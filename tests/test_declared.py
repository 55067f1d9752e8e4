"""What files declare, tied to what was measured. The rules are those of docs/audit.md; states are written by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.declared import legs_of, tie_declarations, voting_scopes
from scanner.judge import judge_record
from scanner.model.checks import Check, CheckState
from scanner.model.evidence import Basis, Gap, GapReason, Observation, State
from scanner.model.exchange import Ending
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Direction, Endpoint, Role, Target, Upgrade
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.reports.objects import render_states
from tests.declaring import declare, make_leg
from tests.test_judge import POLICY, RUN, TARGET, _asked, _endpoint, _exchange, _record

IN, OUT = Direction.INBOUND, Direction.OUTBOUND
MODERN = {TlsVersion.TLS1_2, TlsVersion.TLS1_3}


def judge(record):
    return judge_record(RUN, record, POLICY)


def measured(enabled, *declarations):
    return replace(_record(_asked(_endpoint(), enabled), [_endpoint()]), declarations=declarations)


def files_alone(*declarations):
    return HostRecord(
        target=TARGET, resolution=Resolution(), endpoints=(), exchanges=(), declarations=tuple(declarations)
    )


def inbound(result, version):
    return next(each for each in result.verdicts if (each.direction, each.version) == (IN, version))


def test_the_file_says_off_and_the_wire_says_on_is_on_and_disputed():
    result, findings = judge(measured({TlsVersion.TLS1_0, *MODERN}, declare(make_leg("dddeee"))))
    verdict = inbound(result, TlsVersion.TLS1_0)
    assert (verdict.state, verdict.is_disputed) == (State.ENABLED, True)
    (against,) = verdict.opposing
    assert (against.basis, against.state, against.origin.locator) == (Basis.DECLARED, State.DISABLED, "nginx.conf:7")
    assert "answers-disagree" in {finding.rule_id for finding in findings}


def test_the_file_says_on_and_the_wire_says_off_is_off_and_disputed():
    result, _ = judge(measured({TlsVersion.TLS1_1}, declare(make_leg("dddeed"))))
    verdict = inbound(result, TlsVersion.TLS1_2)
    assert (verdict.state, verdict.is_disputed) == (State.DISABLED, True)
    assert result.readiness is Readiness.NOT_READY


def test_the_file_agrees_and_stands_beside_the_measurement():
    result, findings = judge(measured(MODERN, declare(make_leg("dd??ee"))))
    verdict = inbound(result, TlsVersion.TLS1_2)
    assert (verdict.state, verdict.is_disputed) == (State.ENABLED, False)
    assert [each.basis for each in verdict.supporting] == [Basis.HELLO, Basis.DECLARED]
    assert not findings
    (file,) = result.declared
    assert file.legs[0].measured_scopes == ("tcp://192.0.2.1:443 as h.example",)


def test_what_the_file_leaves_open_takes_nothing_from_what_was_measured():
    result, _ = judge(measured(MODERN, declare(make_leg("??????"))))
    assert render_states(result.verdicts) == render_states(judge(measured(MODERN))[0].verdicts)


def test_a_port_that_was_not_measured_is_a_scope_of_its_own():
    result, findings = judge(measured(MODERN, declare(make_leg("ddeeee", listens=[(None, 8443)]))))
    verdict = inbound(result, TlsVersion.TLS1_0)
    assert (verdict.state, verdict.is_disputed) == (State.ENABLED, True), "one place has it and the other does not"
    (finding,) = [each for each in findings if each.rule_id == "tls10-inbound-enabled"]
    assert finding.scopes == ("server in nginx.conf",)


def test_a_port_that_the_file_leaves_open_keeps_a_host_from_being_disabled():
    result, _ = judge(measured(MODERN, declare(make_leg("dd?dee", listens=[(None, 8443)]))))
    assert inbound(result, TlsVersion.TLS1_0).state is State.UNKNOWN
    assert inbound(result, TlsVersion.TLS1_1).state is State.DISABLED


def test_management_has_no_vote():
    result, findings = judge(measured(MODERN, declare(make_leg("ddeeed", listens=[(None, 8443)], is_management=True))))
    assert (inbound(result, TlsVersion.TLS1_0).state, findings) == (State.DISABLED, ())
    assert result.declared[0].legs[0].verdicts[2].state is State.ENABLED, "it is shown all the same"


def test_what_a_permission_turns_off_is_held_against_every_endpoint():
    leg = make_leg("dddded", "Schannel Server", listens=(), is_permission=True)
    result, _ = judge(measured({TlsVersion.TLS1_1, *MODERN}, declare(leg, file="export.reg")))
    assert inbound(result, TlsVersion.TLS1_1).is_disputed
    assert inbound(result, TlsVersion.TLS1_3).is_disputed
    assert not inbound(result, TlsVersion.TLS1_2).is_disputed


def test_what_a_permission_allows_is_no_statement_about_an_endpoint():
    leg = make_leg("eeeeee", "Schannel Server", listens=(), is_permission=True)
    result, findings = judge(measured(MODERN, declare(leg)))
    assert (render_states(result.verdicts)[2:], findings) == ("ddee", ())
    assert not any(verdict.is_disputed for verdict in result.verdicts)


def test_what_a_permission_allows_is_all_there_is_where_nothing_was_measured():
    leg = make_leg("dddeee", "Schannel Server", listens=(), is_permission=True)
    result, findings = judge(files_alone(declare(leg)))
    assert render_states(result.verdicts) == "dddeee"
    assert {finding.rule_id for finding in findings} == {"tls11-inbound-enabled"}


def test_files_alone_make_a_host_ready_or_not():
    ready, _ = judge(files_alone(declare(make_leg("ddddee"), make_leg("dddded", "up", direction=OUT, listens=()))))
    assert (ready.readiness, render_states(ready.verdicts, direction=OUT)) == (Readiness.READY, "dddded")
    not_ready, findings = judge(files_alone(declare(make_leg("dddedd", direction=OUT, listens=()))))
    assert not_ready.readiness is Readiness.NOT_READY
    assert "tls12-outbound-required" in {finding.rule_id for finding in findings}
    unknown, _ = judge(files_alone(declare(make_leg("dddd??"))))
    assert unknown.readiness is Readiness.UNKNOWN


def test_checks_of_the_file_are_checks_of_the_host():
    check = Check(id="config-allows-old", title="t", state=CheckState.YES, detail="nginx.conf:7")
    result, findings = judge(files_alone(declare(make_leg("dd??ee"), checks=(check, check))))
    assert result.checks == (check,)
    assert "config-allows-old" in {finding.rule_id for finding in findings}


def endpoint(address="192.0.2.1", port=443, name="h.example", **options):
    return Endpoint(host="h.example", address=address, port=port, server_name=name, **options)


def names(legs):
    return [leg.name for leg in legs]


@pytest.mark.parametrize(
    ("place", "chosen"),
    [
        (endpoint(port=444), []),
        (endpoint("192.0.2.9", name="other.example"), ["any"]),
        (endpoint("192.0.2.9", name="sts.example"), ["sts"]),
        (endpoint("192.0.2.9", name="a.wild.example"), ["wild"]),
        (endpoint("192.0.2.9", name=None), ["any"]),
        (endpoint("192.0.2.1", name="sts.example"), ["one"]),
    ],
)
def test_a_leg_is_found_by_port_address_and_name(place, chosen):
    legs = (
        make_leg("ddddee", "any"),
        make_leg("ddddee", "sts", server_names=("sts.example",)),
        make_leg("ddddee", "wild", server_names=("*.wild.example",)),
        make_leg("ddddee", "one", listens=[("192.0.2.1", 443)]),
        make_leg("ddddee", "admin", is_management=True),
        make_leg("ddddee", "out", direction=OUT),
    )
    assert names(legs_of(place, legs)) == chosen


def test_legs_that_may_have_answered_and_differ_say_nothing_but_where_they_agree():
    legs = (make_leg("dddeee", "a", server_names=("a",)), make_leg("ddddee", "b", server_names=("b",)))
    tied = tie_declarations([declare(*legs)], [endpoint(name="c")])
    evidence = tied.by_scope["tcp://192.0.2.1:443 as c"]
    assert [each.reason for each in evidence if isinstance(each, Gap)] == [GapReason.CONDITIONAL]
    assert [each.version for each in evidence if isinstance(each, Gap)] == [TlsVersion.TLS1_1]
    assert [each.state.value[0] for each in evidence if isinstance(each, Observation)] == list("dddee")
    assert [leg.has_vote for leg in tied.results[0].legs] == [False, False]


def test_an_endpoint_through_a_proxy_is_not_the_hosts_own():
    through = endpoint(upgrade=Upgrade.HTTP_CONNECT, destination="login.example:443")
    assert tie_declarations([declare(make_leg("ddddee"))], [through]).by_scope == {}


def test_a_closed_optional_port_stays_absent_whatever_a_file_says_of_it():
    target = Target(text="h.example", host="h.example", role=Role.SERVER, ports=(443,), optional_ports=(49443,))
    closed = replace(_endpoint(), port=49443, is_optional=True)
    refused = [_exchange(closed, TlsVersion.TLS1_2, ending=Ending.REFUSED)]
    record = _record([*_asked(_endpoint(), MODERN), *refused], [_endpoint(), closed], target)
    record = replace(record, declarations=(declare(make_leg("ddeeee", listens=[(None, 49443)])),))
    result, _ = judge(record)
    assert inbound(result, TlsVersion.TLS1_0).state is State.DISABLED


@given(
    st.lists(
        st.tuples(
            st.text("de?", min_size=6, max_size=6),
            st.sampled_from([IN, OUT]),
            st.booleans(),
            st.sampled_from([443, 8443]),
        ),
        max_size=4,
    ),
    st.sets(st.sampled_from(ALL_VERSIONS[2:])),
    st.randoms(use_true_random=False),
)
def test_no_order_of_files_matters_and_no_gap_is_ever_a_vote(specs, enabled, random):
    files = [
        declare(make_leg(states, direction=way, is_permission=may, listens=[(None, port)]), file=f"{at}.conf")
        for at, (states, way, may, port) in enumerate(specs)
    ]
    record = measured(enabled, *files)
    shuffled = random.sample(files, len(files))
    result, again = judge(record)[0], judge(replace(record, declarations=tuple(shuffled)))[0]
    assert [(each.state, each.is_disputed) for each in result.verdicts] == [
        (each.state, each.is_disputed) for each in again.verdicts
    ]
    for verdict in result.verdicts:
        states = {each.state for each in (*verdict.supporting, *verdict.opposing)}
        assert verdict.state is State.UNKNOWN or verdict.state in states
    for version in enabled:
        assert inbound(result, version).state is State.ENABLED, "no file takes away what was measured"


def test_voting_scopes_leave_out_what_was_measured():
    tied = tie_declarations([declare(make_leg("ddddee"), make_leg("ddddee", "b", listens=[(None, 1)]))], [endpoint()])
    assert [scope for scope, _, _ in voting_scopes(tied.results, measured=[IN])] == ["b in nginx.conf"]

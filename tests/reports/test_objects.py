"""The parts that reports share; the whole is in test_json."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from scanner.model.evidence import State
from scanner.model.subjects import Direction
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.objects import build_summary, combine_summary, render_line, render_states
from tests.reports.sample import build_result


@pytest.mark.parametrize(
    "text", ["plain", "b\u00fccher \u2028", "\ud800 lone", "back\\slash \\ud800", "nul \0", "line\nend"]
)
def test_a_line_is_one_line_and_can_always_be_written(text):
    line = render_line({"text": text})
    assert "\n" not in line
    assert json.loads(line.encode("utf-8")) == {"text": text}


def test_states_are_the_initials_of_the_inbound_verdicts():
    host = next(host for host in build_result(40).hosts if len({verdict.state for verdict in host.verdicts}) > 1)
    letters = {State.ENABLED: "e", State.DISABLED: "d", State.UNKNOWN: "u"}
    assert render_states(host.verdicts) == "".join(letters[verdict.state] for verdict in host.verdicts)
    outbound = [replace(verdict, direction=Direction.OUTBOUND) for verdict in host.verdicts]
    assert render_states([*outbound, *host.verdicts]) == render_states(host.verdicts)
    assert render_states([*host.verdicts, *outbound], direction=Direction.OUTBOUND) == render_states(host.verdicts)
    assert render_states(host.verdicts, direction=Direction.OUTBOUND) == ""


def test_counts_of_equal_hosts_add_up():
    summary = combine_summary(
        {
            (Readiness.READY, "ddddee", ""): 3,
            (Readiness.UNKNOWN, "uuuuuu", ""): 2,
            (Readiness.READY, "ddddee", "dddued"): 4,
            (Readiness.UNKNOWN, "uuuuuu", "dddddd"): 1,
        },
        {Severity.WARNING: 4},
        [("REFUSED", 9)],
        {"seed": 1},
    )
    assert (summary["hosts"], summary["ready"], summary["not_ready"], summary["unknown"]) == (10, 7, 0, 3)
    assert summary["by_version"]["TLS1.2"] == {"enabled": 7, "disabled": 0, "unknown": 3}
    assert summary["by_version"]["SSL2"] == {"enabled": 0, "disabled": 7, "unknown": 3}
    # Of the ten, five were asked about their outbound side; the others count nowhere there.
    assert summary["outbound_hosts"] == 5
    assert summary["by_version_outbound"]["TLS1.2"] == {"enabled": 4, "disabled": 1, "unknown": 0}
    assert summary["by_version_outbound"]["TLS1.1"] == {"enabled": 0, "disabled": 1, "unknown": 4}
    assert summary["findings"] == {"failure": 0, "warning": 4, "info": 0}
    assert (summary["no_listener"], summary["sweep"]) == ({"REFUSED": 9}, {"seed": 1})


def test_the_summary_of_a_result_counts_its_hosts():
    result = build_result(40)
    summary = build_summary(result)
    assert summary["hosts"] == len(result.hosts)
    assert summary["findings"] == {
        severity.value: Counter(finding.severity for finding in result.findings)[severity] for severity in Severity
    }
    for at, version in enumerate(ALL_VERSIONS):
        states = Counter(host.verdicts[at].state.value for host in result.hosts)
        assert summary["by_version"][version.label] == {state.value: states[state.value] for state in State}

"""Verdicts, findings, citations: defaults that can't flatter."""

from scanner.model.evidence import State
from scanner.model.subjects import Direction
from scanner.model.verdicts import Citation, Readiness, Severity, Verdict
from scanner.model.versions import TlsVersion


def test_a_verdict_without_evidence_has_none():
    verdict = Verdict(
        host="h",
        scope=None,
        direction=Direction.INBOUND,
        version=TlsVersion.TLS1_2,
        state=State.UNKNOWN,
        is_disputed=False,
        reason="r",
    )
    assert (verdict.supporting, verdict.opposing, verdict.gaps) == ((), (), ())


def test_severities_and_answers_are_those_of_the_report():
    assert [severity.value for severity in Severity] == ["failure", "warning", "info"]
    assert [readiness.value for readiness in Readiness] == ["ready", "not-ready", "unknown"]


def test_a_citation_is_verified_unless_it_says_otherwise():
    assert Citation(title="t", url="https://t.example").is_verified

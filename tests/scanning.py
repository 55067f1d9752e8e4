"""A scan as a library would do it, with its verdicts as objects."""

from __future__ import annotations

from scanner.app import scan_plan
from scanner.judge import judge_run
from scanner.model.runs import RunResult
from scanner.policy import read_policy
from scanner.reports.source import host_lines, source_of
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space


async def scan_targets(targets, options, **more) -> RunResult:
    """Scan named targets, or what a TargetPlan says, and judge everything again that was learned.

    The lines that were made while the scan went on must say the same: that is checked here, for every test.
    """
    plan = targets if isinstance(targets, TargetPlan) else TargetPlan(named=tuple(targets), space=Space(()))
    records = {}
    with await scan_plan(plan, options, on_record=records.__setitem__, **more) as results:
        judged = judge_run(
            results._run,
            [record for _, record in sorted(records.items())],
            read_policy(options.policy),
            no_listener_counts=results._no_listener,
        )
        again = source_of(judged)
        assert list(results.iter_lines()) == list(host_lines(again))
        assert results.run == again.run
        assert {**results.summary, "sweep": None} == {**again.summary, "sweep": None}
        assert results.is_complete == judged.run.is_complete
    return judged

"""Scans as a library would do them, and what tests make of their results."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from scanner.app import scan_plan
from scanner.judge import judge_run
from scanner.model.runs import RunResult
from scanner.options import Confirm, ScanOptions
from scanner.policy import read_policy
from scanner.reports.source import host_lines, source_of
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space

QUICK = ScanOptions(timeout_s=5.0, confirm=Confirm.NONE, rate=0, per_address=100)
SWEEP = replace(QUICK, per_network=0, in_flight=4, concurrency=4, seed=7, processes=1)


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


def scan_lines(targets, options=QUICK, **more):
    """Scan and return the result as the program has it."""
    plan = targets if isinstance(targets, TargetPlan) else TargetPlan(named=tuple(targets), space=Space(()))
    return asyncio.run(scan_plan(plan, options, **more))


def content(results):
    """Return everything that results say."""
    return results.run, results.summary, list(results.iter_entry_lines()), list(results.iter_finding_lines())


def hosts_of(results):
    return [host for host, _ in results.entries()]


def addresses_done(results):
    return results.summary["sweep"]["addresses"]["done"]


class Watch:
    """An observer that keeps what it is told, and then does something."""

    def __init__(self, then=lambda _watch: None):
        self.run = None
        self.scan = None
        self.hosts = []
        self.notes = []
        self.failures = []
        self._then = then

    def on_begin(self, run, scan):
        self.run, self.scan = run, scan

    def on_note(self, text):
        self.notes.append(text)

    def on_store_failure(self, error):
        self.failures.append(str(error))

    def on_host(self, judged):
        self.hosts.append(judged)
        self._then(self)

"""What bench.rate measures of the dispatcher, judged against its targets."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measure import Spread
from bench.rate import RATES, WINDOW_S, Held, measure_rate, table
from bench.tables import Section, Target

AIM_RATE = "rate: 98 to 102 % of what was asked, from 1 to 20,000 a second"
AIM_BURST = "rate: no burst above 0.1 s worth"
_SLOWEST_S = 6.0
_SECONDS = 2.5


def measure_rates(*, runs: int) -> Section:
    print("== Rate", flush=True)
    held = [
        measure_rate(rate, _SLOWEST_S if rate == 1 else _SECONDS, is_busy=is_busy)
        for _ in range(runs)
        for is_busy in (False, True)
        for rate in RATES
    ]
    return rate_section(held)


def rate_section(held: Sequence[Held]) -> Section:
    """Judge each rate by its median over runs, and bursts by the worst of all."""
    targets = []
    for is_busy in (False, True):
        where = "event loop half busy" if is_busy else "event loop idle"
        own = [each for each in held if each.is_busy == is_busy]
        medians = {
            rate: Spread.of([each.achieved for each in own if each.rate == rate]).median
            for rate in sorted({each.rate for each in own})
        }
        worst = max(medians, key=lambda rate: abs(medians[rate] - 1))
        targets.append(
            Target(
                text=f"{AIM_RATE} ({where})",
                measured=f"{min(medians.values()):.2%} to {max(medians.values()):.2%}; worst at {worst:,} a second",
                is_met=all(0.98 <= achieved <= 1.02 for achieved in medians.values()),
            )
        )
        extra = {rate: max(_extra(each) for each in own if each.rate == rate) for rate in medians}
        worst = max(extra, key=extra.__getitem__)
        targets.append(
            Target(
                text=f"{AIM_BURST} on top of the even flow, in any 0.1 s ({where})",
                measured=f"{extra[worst]:.2f} of 0.1 s worth at {worst:,} a second",
                is_met=all(value <= 1 for value in extra.values()),
            )
        )
    return Section(
        title="Rate: permits handed out by the dispatcher, by the real clock",
        lines=table(held).splitlines(),
        targets=targets,
        commands=["python -m bench.rate"],
    )


def _extra(held: Held) -> float:
    """Return what the fullest 0.1 s had more than the even flow brings, in 0.1 s worth of permits.

    The even flow itself puts one more than its share into some windows.
    """
    worth = held.rate * WINDOW_S
    return max(0.0, held.most_in_window - worth - 1) / max(1.0, worth)

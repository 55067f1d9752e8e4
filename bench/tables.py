"""What a part of the bench hands over: a section of bench/RESULTS.md, and the targets it measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.measure import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing aimed for, with what was measured."""

    text: str
    measured: str
    is_met: bool | None
    """None: not measured, or nothing was asked for; then `measured` says why."""

    @property
    def word(self) -> str:
        if self.is_met is None:
            return "not judged"
        return "met" if self.is_met else "**missed**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading of the results."""

    title: str
    lines: Sequence[str] = ()
    targets: Sequence[Target] = ()
    commands: Sequence[str] = ()
    left_out: Sequence[str] = field(default=())
    """What was not measured, each with the reason."""


def not_measured(text: str, reason: str) -> Target:
    return Target(text=text, measured=f"not measured: {reason}", is_met=None)


def at_least(text: str, value: Spread, least: float, unit: str = "x") -> Target:
    """Judge a median that should be high."""
    return Target(text=text, measured=shown_spread(value, unit), is_met=value.median >= least)


def at_most(text: str, value: Spread, most: float, unit: str) -> Target:
    """Judge a median that should be low."""
    return Target(text=text, measured=shown_spread(value, unit), is_met=value.median <= most)


def shown_spread(value: Spread, unit: str = "") -> str:
    return f"{number(value.median)} {unit}".rstrip() + f" ({number(value.least)} to {number(value.most)})"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def target_table(targets: Sequence[Target]) -> list[str]:
    return table(
        ["target", "measured, median (least to most)", ""],
        [(target.text, target.measured, target.word) for target in targets],
    )


def render_section(section: Section) -> list[str]:
    lines = ["", f"## {section.title}", ""]
    lines += [f"LEFT OUT: {reason}" + "\n" for reason in section.left_out]
    lines += section.lines
    if section.targets:
        lines += ["", *target_table(section.targets)]
    return lines

"""What a reader must know of a run before trusting its figures, and what a sweep of ranges saw. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scanner.reports.html_data import GAP_WORDS
from scanner.reports.objects import JsonObject

_GAP_TEXTS = {key.value: words for key, words in GAP_WORDS.items()}


@dataclass(frozen=True, slots=True)
class Sweep:
    """The ``sweep`` member of a summary."""

    total_count: int
    done_count: int
    listening_count: int
    seed: int
    shard: tuple[int, int]
    """Which part, of how many."""
    is_resumed: bool


def maybe_sweep(summary: JsonObject) -> Sweep | None:
    """Return what the summary says of ranges, or None where none were asked for."""
    sweep = summary.get("sweep")
    if not sweep:
        return None
    counts = sweep["addresses"]
    part, _, of = (sweep["shard"] or "1/1").partition("/")
    return Sweep(
        total_count=counts["total"],
        done_count=counts["done"],
        listening_count=counts["listening"],
        seed=sweep["seed"],
        shard=(int(part), int(of)),
        is_resumed=sweep["resumed"],
    )


def build_sweep_facts(summary: JsonObject) -> list[JsonObject]:
    """Return how many range addresses were asked and what came of it: ``term``, ``text``, and more in ``soft``."""
    facts = []
    sweep = maybe_sweep(summary)
    if sweep is not None:
        soft = [f"seed {sweep.seed}", *(["resumed"] if sweep.is_resumed else [])]
        if sweep.shard[1] > 1:
            soft.insert(0, f"shard {sweep.shard[0]} of {sweep.shard[1]}")
        asked = _count(sweep.done_count, "address", "addresses")
        if sweep.done_count != sweep.total_count:
            asked = f"{sweep.done_count:,} of {_count(sweep.total_count, 'address', 'addresses')}"
        facts.append({"term": "Ranges", "text": f"{asked} asked", "soft": ", ".join(soft)})
        if sweep.listening_count is not None:
            facts.append(
                {"term": "Listening", "text": _count(sweep.listening_count, "address", "addresses"), "soft": ""}
            )
    no_listener: dict[str, int] = summary["no_listener"]
    if no_listener:
        reasons = sorted(no_listener.items(), key=lambda item: -item[1])
        facts.append(
            {
                "term": "No listener",
                "text": _count(sum(no_listener.values()), "range address", "range addresses"),
                "soft": "; ".join(f"{_GAP_TEXTS.get(reason, reason).lower()}: {count:,}" for reason, count in reasons),
            }
        )
    return facts


def build_notices(run: JsonObject, summary: JsonObject, stopped_count: int) -> list[JsonObject]:
    """Return ``title`` and ``text`` of each notice, and a ``command`` where one helps."""
    notices = []
    sweep = maybe_sweep(summary)
    if not run["is_complete"]:
        left = "hosts that were not reached are missing or unknown."
        if sweep is not None and sweep.done_count < sweep.total_count:
            missing = _count(sweep.total_count - sweep.done_count, "address", "addresses")
            left = f"{missing} of the ranges and hosts that were not reached are missing or unknown. Go on with"
        notices.append(
            {
                "title": "This run is not complete.",
                "text": "It was interrupted before all questions were put. What was learned until then is shown; "
                + left,
                "command": f"entra-tls scan --resume {run['id']} --db FILE" if left.endswith("with") else "",
            }
        )
    if sweep is not None and sweep.shard[1] > 1:
        notices.append(
            {
                "title": f"This is shard {sweep.shard[0]} of {sweep.shard[1]}.",
                "text": "It asked its share of the ranges only; the other shards' reports have the rest.",
            }
        )
    states = [*summary["by_version"].values(), *summary["by_version_outbound"].values()]
    if not summary["hosts"]:
        notices.append({"title": "This run saw no host.", "text": "An empty report is not a good result."})
    elif not any(counts["enabled"] or counts["disabled"] for counts in states):
        notices.append(
            {
                "title": "This run learned nothing.",
                "text": "No host gave an answer that settles any version. See the reasons below.",
            }
        )
    if stopped_count:
        notices.append(
            {
                "title": f"{_count(stopped_count, 'host was', 'hosts were')} not asked everything.",
                "text": "The time ran out or the run was interrupted; what was not asked is shown as unknown.",
            }
        )
    return [{"command": "", **notice} for notice in notices]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"

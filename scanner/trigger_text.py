"""Triggers as text for a terminal, as Markdown, and as JSON; and all of ``entra-tls trigger`` but its options. Pure."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from scanner.target_forms import FormError
from scanner.triggers import (
    ATTEMPTS,
    Kind,
    ListenerPlace,
    Snippet,
    Trigger,
    parse_host,
    parse_listener,
    plan_triggers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Parsed = TypeVar("_Parsed")

CONSENT = (
    "Run this only on servers that you administer, and tell their owners: it opens connections, and some of it changes "
    "settings for the time of the test."
)
_WIDTH = 100
_JSON_FORMAT = "entra-tls-triggers/1"


class TriggerForm(StrEnum):
    """How triggers are written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPlan:
    """Triggers for one host, with what is true of all of them."""

    host: str
    """As in Trigger's names."""
    listener: ListenerPlace
    """Where they lead."""
    has_secret: bool
    """Whether the names carry a mac."""
    triggers: tuple[Trigger, ...]
    """At least one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is true of all of them, a sentence or two each."""
        return (CONSENT, *_notes(self))


def render_trigger(
    target: str, *, listener: str, kinds: Sequence[Kind], secret: bytes | None, form: TriggerForm = TriggerForm.TEXT
) -> str:
    """Return what ``entra-tls trigger TARGET`` prints, ending with a newline.

    target: one name or address, as a user wrote it. listener: ``HOST:PORT``, port 443 where none is given. secret: the
    listener's, never printed. ValueError with a message for people where one of them can't be used.
    """
    place = _parsed("listener", listener, parse_listener)
    host = _parsed("target", target, parse_host)
    plan = TriggerPlan(
        host=host,
        listener=place,
        has_secret=secret is not None,
        triggers=plan_triggers(host, kinds, place, secret=secret),
    )
    return render_plan(plan, form)


def render_plan(plan: TriggerPlan, form: TriggerForm) -> str:
    """Return a plan in one of the forms, ending with a newline."""
    match form:
        case TriggerForm.JSON:
            return _render_json(plan)
        case TriggerForm.MARKDOWN:
            return _render_markdown(plan)
        case TriggerForm.TEXT:
            return _render_text(plan)


def _parsed(what: str, text: str, parse: Callable[[str], _Parsed]) -> _Parsed:
    try:
        return parse(text)
    except FormError as error:
        raise ValueError(f"{what}: {error.problem}; {error.mend}") from None


def _notes(plan: TriggerPlan) -> tuple[str, ...]:
    place = plan.listener
    if place.is_address:
        lead = (
            f"The listener has no name of its own: the names below end with {place.suffix}, which no DNS answers. "
            "Where they are looked up, a line in the hosts file (given below) leads them to it."
        )
    else:
        lead = (
            f"The names below lead to the listener by one wildcard DNS record, *.{place.suffix} (it covers names of "
            "several labels more, RFC 4592), or by a line in the hosts file (given below)."
        )
    first = (
        f"Start the listener first: entra-tls listen. It tries one TLS version with each connection of a client, so "
        f"that each trigger connects {ATTEMPTS} times; the errors that come with refused versions are what is measured."
    )
    on_the_way = (
        "If the host goes through a proxy that opens TLS on its way to the listener, that proxy's hello arrives, not "
        "the host's."
    )
    trust = (
        "The host need not trust the listener's certificate, but where that is said: the hello is kept either way, and "
        "who turns down the certificate has agreed to the version by then."
    )
    unproven = (
        "Made without --secret-file: the names carry no proof that they were given out by you, and anybody who reaches "
        "the listener can connect in this host's name."
    )
    return (first, lead, on_the_way, trust, *(() if plan.has_secret else (unproven,)))


def _sections(trigger: Trigger) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (
        ("Shows", trigger.proves),
        ("Can't show", trigger.limits),
        ("Needs", trigger.needs),
        ("Not verified", trigger.unverified),
    )


def _commands(trigger: Trigger) -> tuple[tuple[str, tuple[Snippet, ...]], ...]:
    return (
        ("Where no wildcard record leads the name to the listener", trigger.name_steps),
        ("Run", trigger.steps),
        ("Clean up", trigger.cleanup),
        ("Clean up the hosts file, where you changed it", trigger.name_cleanup),
    )


def _render_text(plan: TriggerPlan) -> str:
    lines = [f"Have {plan.host} connect to the listener at {plan.listener}", ""]
    lines += [line for note in plan.notes for line in _wrapped(note, "* ", "  ")]
    for number, trigger in enumerate(plan.triggers, 1):
        title = f"{number}. {trigger.title}"
        lines += ["", title, "=" * len(title)]
        lines += _wrapped(trigger.connects, "Connects: ", "  ")
        lines += [f"Name: {trigger.name}"]
        lines += [
            line for label, texts in _sections(trigger) for text in texts for line in _wrapped(text, f"{label}: ", "  ")
        ]
        if trigger.source:
            lines += _wrapped(trigger.source, "Documented in: ", "  ")
        for label, snippets in _commands(trigger):
            for snippet in snippets:
                lines += ["", f"--- {label}: {snippet.caption}", *snippet.text.splitlines()]
        if not trigger.cleanup:
            lines += ["", "--- Clean up: nothing"]
    return "\n".join(lines) + "\n"


def _render_markdown(plan: TriggerPlan) -> str:
    lines = [f"# Have {plan.host} connect to the listener at {plan.listener}", ""]
    lines += [f"- {note}" for note in plan.notes]
    for trigger in plan.triggers:
        lines += ["", f"## {trigger.title}", "", f"- Connects: {trigger.connects}", f"- Name: `{trigger.name}`"]
        lines += [f"- {label}: {text}" for label, texts in _sections(trigger) for text in texts]
        if trigger.source:
            lines.append(f"- Documented in: {trigger.source}")
        for label, snippets in _commands(trigger):
            for snippet in snippets:
                lines += ["", f"**{label}:** {snippet.caption}", "", f"```{snippet.language}", snippet.text, "```"]
        if not trigger.cleanup:
            lines += ["", "**Clean up:** nothing"]
    return "\n".join(lines) + "\n"


def _render_json(plan: TriggerPlan) -> str:
    document = {
        "format": _JSON_FORMAT,
        "host": plan.host,
        "listener": str(plan.listener),
        "notes": plan.notes,
        "triggers": [asdict(trigger) for trigger in plan.triggers],
    }
    return json.dumps(document, indent=2) + "\n"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )

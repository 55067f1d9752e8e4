"""Readings and declarations written by hand, for the tests of what is made of them."""

from datetime import UTC, datetime

from scanner.model.declared import Declaration, Leg, Listen, Place, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS

GIVEN_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
_LETTERS = {"e": State.ENABLED, "d": State.DISABLED, "?": State.UNKNOWN}


def settings_of(states, *, line=7, file="nginx.conf", basis=Basis.DECLARED):
    """Six settings from letters, oldest version first: ``dd?de?``."""
    return tuple(
        Setting(
            version=version,
            state=_LETTERS[letter],
            basis=basis,
            reason=f"the file says {letter}",
            place=Place(file=file, line=line),
            gap=GapReason.LIBRARY_POLICY if letter == "?" else None,
        )
        for version, letter in zip(ALL_VERSIONS, states, strict=True)
    )


def make_leg(states, name="server", *, direction=Direction.INBOUND, listens=((None, 443),), **options):
    return Leg(
        name=name,
        direction=direction,
        settings=settings_of(states),
        listens=tuple(Listen(address=address, port=port) for address, port in listens),
        **options,
    )


def make_reading(*legs, file="nginx.conf", **options):
    return Reading(
        importer="nginx",
        product="nginx",
        product_version=None,
        file=file,
        sha256="ab" * 32,
        legs=legs,
        **options,
    )


def declare(*legs, host="h.example", run="20261124T090000Z-2b3c", **options):
    return Declaration(
        host=host,
        reading=make_reading(*legs, **options),
        given_at=GIVEN_AT,
        run=run,
        tool_version="0.1.0",
        path=f"/etc/{options.get('file', 'nginx.conf')}",
    )

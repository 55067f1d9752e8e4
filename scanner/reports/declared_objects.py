"""What files declare, as objects of the JSON report (scanner.reports.objects). Pure."""

from __future__ import annotations

from typing import Any

from scanner.model.checks import Check
from scanner.model.declared import DeclaredLeg, DeclaredResult, Place


def build_declared(result: DeclaredResult) -> dict[str, Any]:
    """Return one member of a host's ``declared``."""
    declaration, reading = result.declaration, result.declaration.reading
    return {
        "file": reading.file,
        "sha256": reading.sha256,
        "importer": reading.importer,
        "product": reading.product,
        "product_version": reading.product_version,
        "given_at": declaration.given_at.isoformat(),
        "collected_at": None if reading.collected_at is None else reading.collected_at.isoformat(),
        "legs": [_leg(leg) for leg in result.legs],
        "checks": [build_check(check) for check in reading.checks],
        "notes": [
            {"place": _place(note.place), "state": note.state.value, "text": note.text, "detail": note.detail}
            for note in reading.notes
        ],
        "lines": {state.value: count for state, count in reading.line_counts},
        "gaps": [{"reason": reason.value, "detail": detail} for reason, detail in reading.gaps],
        "includes": [{"file": name, "sha256": digest} for name, digest in reading.includes],
        "facts": dict(reading.facts),
    }


def build_check(check: Check) -> dict[str, Any]:
    """Return one member of ``checks``."""
    return {
        "id": check.id,
        "title": check.title,
        "state": check.state.value,
        "detail": check.detail,
        "weight": check.weight,
        "verified": check.is_verified,
    }


def _leg(result: DeclaredLeg) -> dict[str, Any]:
    leg = result.leg
    return {
        "name": leg.name,
        "scope": result.scope,
        "direction": leg.direction.value,
        "listens": [{"address": listen.address, "port": listen.port} for listen in leg.listens],
        "server_names": list(leg.server_names),
        "destinations": list(leg.destinations),
        "is_permission": leg.is_permission,
        "is_management": leg.is_management,
        "measured_scopes": list(result.measured_scopes),
        "limits": list(leg.limits),
        "settings": [
            {
                "version": setting.version.label,
                "state": setting.state.value,
                "basis": setting.basis.label,
                "reason": setting.reason,
                "place": None if setting.place is None else _place(setting.place),
                "gap": None if setting.gap is None else setting.gap.value,
            }
            for setting in leg.settings
        ],
    }


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "key": place.key}

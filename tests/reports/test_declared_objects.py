"""What files declare, as JSON: every member, and as the schema has it."""

import jsonschema

from scanner.declared import tie_declarations
from scanner.model.checks import Check, CheckState
from scanner.model.declared import LineNote, LineState, Place
from scanner.model.evidence import GapReason
from scanner.reports.declared_objects import build_declared
from tests.declaring import GIVEN_AT, declare, make_leg
from tests.reports.test_json import DEFINITIONS


def build(*legs, **options):
    (result,) = tie_declarations([declare(*legs, **options)], []).results
    built = build_declared(result)
    jsonschema.Draft202012Validator({"$ref": "#/$defs/declared", "$defs": DEFINITIONS}).validate(built)
    return built


def test_a_leg_has_its_six_settings_with_place_basis_and_gap():
    (leg,) = build(make_leg("dd?dee", "server a", server_names=("a.example",)))["legs"]
    assert (leg["name"], leg["scope"], leg["direction"]) == ("server a", "server a in nginx.conf", "inbound")
    assert (leg["listens"], leg["server_names"]) == ([{"address": None, "port": 443}], ["a.example"])
    assert [(each["version"], each["state"], each["gap"]) for each in leg["settings"]] == [
        ("SSL2", "disabled", None),
        ("SSL3", "disabled", None),
        ("TLS1.0", "unknown", "LIBRARY_POLICY"),
        ("TLS1.1", "disabled", None),
        ("TLS1.2", "enabled", None),
        ("TLS1.3", "enabled", None),
    ]
    assert {each["basis"] for each in leg["settings"]} == {"declared"}
    assert leg["settings"][0]["place"] == {"file": "nginx.conf", "line": 7, "key": ""}


def test_a_file_has_its_digest_times_notes_lines_gaps_includes_and_facts():
    built = build(
        collected_at=GIVEN_AT,
        checks=(Check(id="restart-pending", title="A restart is pending", state=CheckState.YES, detail="d"),),
        notes=(LineNote(place=Place(file="a", line=3), state=LineState.CONDITIONAL, text="if", detail="why"),),
        line_counts=((LineState.SUPPORTED, 3), (LineState.UNRECOGNISED, 1)),
        gaps=((GapReason.INCLUDE_MISSING, "b.conf was not supplied"),),
        includes=(("c.conf", "cd" * 32),),
        facts=(("k", "v"),),
    )
    assert built == {
        "file": "nginx.conf",
        "sha256": "ab" * 32,
        "importer": "nginx",
        "product": "nginx",
        "product_version": None,
        "given_at": "2026-11-24T09:00:00+00:00",
        "collected_at": "2026-11-24T09:00:00+00:00",
        "legs": [],
        "checks": [
            {
                "id": "restart-pending",
                "title": "A restart is pending",
                "state": "yes",
                "detail": "d",
                "weight": "",
                "verified": True,
            }
        ],
        "notes": [
            {"place": {"file": "a", "line": 3, "key": ""}, "state": "conditional", "text": "if", "detail": "why"}
        ],
        "lines": {"supported": 3, "unrecognised": 1},
        "gaps": [{"reason": "INCLUDE_MISSING", "detail": "b.conf was not supplied"}],
        "includes": [{"file": "c.conf", "sha256": "cd" * 32}],
        "facts": {"k": "v"},
    }

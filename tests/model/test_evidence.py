"""The second law: a fact is ENABLED or DISABLED, a gap is neither, and they are different types."""

import dataclasses
from datetime import UTC, datetime

import pytest

from scanner.model.evidence import Basis, Gap, GapReason, Observation, Origin, State
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion

ORIGIN = Origin(source="hello-ladder", source_version="1", locator="tcp://192.0.2.7:443", run="r")


def _observation(state):
    return Observation(
        host="h",
        scope="s",
        direction=Direction.INBOUND,
        version=TlsVersion.TLS1_2,
        state=state,
        basis=Basis.HELLO,
        seen_at=datetime(2026, 11, 23, tzinfo=UTC),
        origin=ORIGIN,
        reason="r",
    )


@pytest.mark.parametrize("state", [State.ENABLED, State.DISABLED])
def test_an_observation_is_a_fact(state):
    assert _observation(state).state is state


def test_an_observation_is_never_unknown():
    with pytest.raises(ValueError, match="what is not known is a Gap"):
        _observation(State.UNKNOWN)


def test_nor_by_replacing():
    with pytest.raises(ValueError, match="Gap"):
        dataclasses.replace(_observation(State.ENABLED), state=State.UNKNOWN)


def test_a_gap_has_no_state():
    assert "state" not in {field.name for field in dataclasses.fields(Gap)}
    assert not issubclass(Gap, Observation)
    assert not issubclass(Observation, Gap)


def test_stronger_evidence_has_the_higher_number():
    assert Basis.HANDSHAKE > Basis.HELLO > Basis.LOGGED > Basis.DECLARED > Basis.ASSUMED
    assert [basis.label for basis in Basis] == ["assumed", "declared", "logged", "hello", "handshake"]


def test_reasons_of_gaps_are_their_names():
    assert all(reason.value == reason.name for reason in GapReason)


def test_facts_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _observation(State.ENABLED).state = State.DISABLED

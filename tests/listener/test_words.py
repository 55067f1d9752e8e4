from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener.words import maybe_fatal_alert, render_received_alert, render_sent_alert


def test_alerts_are_named_as_outbound_judgement_reads_them():
    assert render_received_alert(48) == "received alert 48 (unknown_ca)"
    assert render_received_alert(99) == "received alert 99"
    assert render_sent_alert(40) == "sent alert 40 (handshake_failure)"
    assert render_sent_alert(40, "no shared cipher") == "sent alert 40 (handshake_failure): no shared cipher"
    assert len(render_sent_alert(40, "x" * 9999)) < 350


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (bytes.fromhex("15030300020228"), 40),
        (bytes.fromhex("160301000101" + "15030100020246"), 70),
        (bytes.fromhex("15030300020100"), None),  # close_notify, a warning
        (bytes.fromhex("15030300020170"), None),  # a warning
        (bytes.fromhex("1503030020" + "00" * 32), None),  # encrypted
        (bytes.fromhex("15030300020228" + "1603"), None),  # not the end
        (b"", None),
    ],
)
def test_the_alert_that_ends_a_flight_is_found(out, expected):
    assert maybe_fatal_alert(out) == expected


@given(st.binary(max_size=64))
def test_no_bytes_raise(data):
    assert maybe_fatal_alert(data) in {None, *range(256)}

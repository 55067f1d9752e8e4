"""Alert numbers and names against tlslite-ng's table, and what may never be about a version."""

import pytest

from scanner.tls.alerts import (
    CLOSE_NOTIFY,
    HANDSHAKE_FAILURE,
    INSUFFICIENT_SECURITY,
    INTERNAL_ERROR,
    NEVER_ABOUT_VERSION,
    PROTOCOL_VERSION,
    UNRECOGNIZED_NAME,
    render_alert,
)
from tests.tls.independent import AlertDescription

THEIRS = {
    number: name
    for name, number in vars(AlertDescription).items()
    if not name.startswith("_") and isinstance(number, int)
}


def test_the_independent_table_is_there():
    assert len(THEIRS) > 25


@pytest.mark.parametrize("number", sorted(THEIRS))
def test_names_agree_with_tlslite(number):
    theirs = THEIRS[number]
    ours = render_alert(number)
    assert ours.removesuffix(f"({number})").removesuffix("_RESERVED") == theirs.removesuffix("_RESERVED")


def test_constants_agree_with_tlslite():
    assert AlertDescription.close_notify == CLOSE_NOTIFY
    assert AlertDescription.handshake_failure == HANDSHAKE_FAILURE
    assert AlertDescription.protocol_version == PROTOCOL_VERSION
    assert AlertDescription.insufficient_security == INSUFFICIENT_SECURITY
    assert AlertDescription.internal_error == INTERNAL_ERROR
    assert AlertDescription.unrecognized_name == UNRECOGNIZED_NAME


@pytest.mark.parametrize("number", [1, 99, 255])
def test_unknown_numbers_have_a_name_for_people(number):
    assert render_alert(number) == f"alert {number}"


def test_refusals_of_versions_seen_on_real_stacks_may_be_about_versions():
    """tls-behaviour: 0 (ngIRCd), 10, 40, 47, 50, 70, 71, 80 were all given for a version that is off."""
    assert not NEVER_ABOUT_VERSION & {0, 10, 40, 47, 50, 70, 71, 80}


def test_certificate_and_name_trouble_is_never_about_versions():
    assert {42, 43, 44, 45, 46, 48, 112, 116} <= NEVER_ABOUT_VERSION

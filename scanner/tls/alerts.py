"""Alert names (IANA registry "TLS Alerts"; SSLv3's no_certificate from RFC 6101)."""

from __future__ import annotations

CLOSE_NOTIFY = 0
HANDSHAKE_FAILURE = 40
PROTOCOL_VERSION = 70
INSUFFICIENT_SECURITY = 71
INTERNAL_ERROR = 80
UNRECOGNIZED_NAME = 112

# An alert that a server sends only after it accepted the version, or that is about something else altogether:
# it can never help to show that a version is off.
NEVER_ABOUT_VERSION = frozenset({41, 42, 43, 44, 45, 46, 48, 90, 100, 109, 110, 111, 112, 113, 114, 115, 116, 120, 121})

_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed_RESERVED",
    22: "record_overflow",
    30: "decompression_failure_RESERVED",
    40: "handshake_failure",
    41: "no_certificate_RESERVED",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    52: "too_many_cids_requested",
    60: "export_restriction_RESERVED",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation_RESERVED",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable_RESERVED",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value_RESERVED",
    115: "unknown_psk_identity",
    116: "certificate_required",
    117: "general_error",
    120: "no_application_protocol",
    121: "ech_required",
}


def render_alert(number: int) -> str:
    """Return ``handshake_failure(40)``, or ``alert 99`` for a number nobody registered."""
    name = _NAMES.get(number)
    return f"{name}({number})" if name else f"alert {number}"

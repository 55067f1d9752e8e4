"""Names that bring a connection back to the question it answers: tokens in server names and HTTP paths. Pure.

A probe name carries a question of the scan's own: ``p-<nonce>-<answer>.<suffix>``. A trigger name is given to people,
to be put into a proxy's or a server's configuration: ``t-<mac>-<method>.<host>.tls-probe.<suffix>`` says which host
will connect and by which method, and the mac that the listener's owner gave it out. Names are DNS names (RFC 1035
section 2.3.4: labels up to 63 octets, 253 in all), so that every client can send them as SNI.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from scanner.model.versions import TlsVersion

NO_NAME_SUFFIX = "tls-probe.invalid"
"""Suffix for a listener without a DNS name of its own; never resolves (RFC 6761 section 6.4)."""
MARK = "tls-probe"
"""The label between the host and the suffix in a trigger name."""
NONCE_DIGITS = 16
"""Hexadecimal digits of a nonce: 64 random bits."""
MAC_DIGITS = 12
"""Hexadecimal digits of a mac."""
NO_MAC = "0"
"""Stands for the mac where the listener has no secret."""

_NAME_CHARACTERS = 253
_LABEL_CHARACTERS = 63
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_METHOD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PROBE = re.compile(rf"p-([0-9a-f]{{{NONCE_DIGITS}}})-([a-z0-9]+)")
_TRIGGER = re.compile(rf"t-(0|[0-9a-f]{{{MAC_DIGITS}}})-([a-z0-9]+(?:-[a-z0-9]+)*)")
_PATH = re.compile(r"/+([pt])/+([^/?#]+)")
_OCTETS = 4


class Answer(StrEnum):
    """What the listener is asked to answer with."""

    ANY = "any"
    """The highest version that the hello offers."""
    TLS13 = "tls13"
    TLS12 = "tls12"
    TLS11 = "tls11"
    TLS10 = "tls10"
    SSL3 = "ssl3"
    SSL2 = "ssl2"

    @property
    def version(self) -> TlsVersion | None:
        """The version it names; None for ANY."""
        return _VERSIONS.get(self)

    @classmethod
    def for_version(cls, version: TlsVersion | None) -> Answer:
        """Return the answer that names this version; ANY for None."""
        return _ANSWERS[version]


_VERSIONS: dict[Answer, TlsVersion] = {
    Answer.TLS13: TlsVersion.TLS1_3,
    Answer.TLS12: TlsVersion.TLS1_2,
    Answer.TLS11: TlsVersion.TLS1_1,
    Answer.TLS10: TlsVersion.TLS1_0,
    Answer.SSL3: TlsVersion.SSL3,
    Answer.SSL2: TlsVersion.SSL2,
}
_ANSWERS: dict[TlsVersion | None, Answer] = {None: Answer.ANY} | {
    version: answer for answer, version in _VERSIONS.items()
}


@dataclass(frozen=True, slots=True)
class ProbeToken:
    """What a probe name says."""

    nonce: str
    """16 lower-case hexadecimal digits: which question."""
    answer: Answer
    """What the listener is to answer."""


@dataclass(frozen=True, slots=True)
class TriggerToken:
    """What a trigger name says."""

    mac: str
    """12 lower-case hexadecimal digits, or ``0`` where the listener had no secret."""
    method: str
    """Id of the method (scanner.outbound.methods)."""
    host: str
    """The host that was to connect: a DNS name in A-label form, or an address in canonical text form."""


def encode_probe_name(token: ProbeToken, suffix: str) -> str:
    """Return ``p-<nonce>-<answer>.<suffix>``; ValueError where the token or the name's length is not allowed."""
    return _checked_name(f"{_probe_label(token)}.{_normal_name(suffix)}")


def encode_trigger_name(method: str, host: str, suffix: str, secret: bytes | None) -> str:
    """Return ``t-<mac>-<method>.<host>.tls-probe.<suffix>``.

    host: a DNS name in A-label form or an address. ValueError where method or host can't stand in a name, or where the
    name would be over 253 characters or a label of it over 63.
    """
    return _checked_name(f"{_trigger_stem(method, host, secret)}.{MARK}.{_normal_name(suffix)}")


def encode_probe_path(token: ProbeToken) -> str:
    """Return ``/p/p-<nonce>-<answer>/``, for clients whose server name is not ours to choose."""
    return f"/p/{_probe_label(token)}/"


def encode_trigger_path(method: str, host: str, secret: bytes | None) -> str:
    """Return ``/t/t-<mac>-<method>.<host>/``; ValueError as for ``encode_trigger_name``."""
    return f"/t/{_trigger_stem(method, host, secret)}/"


def read_name(name: str | None) -> ProbeToken | TriggerToken | None:
    """Return the token in a server name; None where there is none. Never raises; the name is text from the network."""
    if not name or len(name) > _NAME_CHARACTERS + 1 or not name.isascii():
        return None
    return _read_stem(name.lower().removesuffix("."), needs_mark=True)


def read_path(path: str | None) -> ProbeToken | TriggerToken | None:
    """Return the token in an HTTP path (``/p/...``, ``/t/...``); None where there is none. Never raises."""
    found = _PATH.match(path) if path else None
    if found is None or len(found[2]) > _NAME_CHARACTERS or not found[2].isascii():
        return None
    token = _read_stem(found[2].lower(), needs_mark=False)
    is_probe = isinstance(token, ProbeToken)
    return token if token is not None and is_probe == (found[1] == "p") else None


def is_authentic(token: ProbeToken | TriggerToken, secret: bytes | None) -> bool:
    """Return whether the owner of secret gave this token out.

    Without a secret nothing can be told apart and everything is taken as authentic. A probe token credits nobody: its
    random nonce is known only to the scan that asked, and so it needs no mac.
    """
    if secret is None or isinstance(token, ProbeToken):
        return True
    return hmac.compare_digest(token.mac, _mac(token.method, token.host, secret))


def _probe_label(token: ProbeToken) -> str:
    label = f"p-{token.nonce}-{token.answer.value}"
    if _PROBE.fullmatch(label) is None:
        raise ValueError(f"a nonce is {NONCE_DIGITS} lower-case hexadecimal digits, not {token.nonce!r}")
    return label


def _trigger_stem(method: str, host: str, secret: bytes | None) -> str:
    if _METHOD.fullmatch(method) is None:
        raise ValueError(f"a method is lower-case letters, digits and single hyphens, not {method!r}")
    canonical = _canonical_host(host)
    if canonical is None:
        raise ValueError(f"not an address or a DNS name in A-label form: {host!r}")
    if MARK in canonical.split("."):
        raise ValueError(f"a host with the label {MARK} can't be told from the rest of the name: {host!r}")
    mac = NO_MAC if secret is None else _mac(method, canonical, secret)
    labels = f"ip6-{IPv6Address(canonical).exploded.replace(':', '-')}" if ":" in canonical else canonical
    return _checked_name(f"t-{mac}-{method}.{labels}")


def _mac(method: str, host: str, secret: bytes) -> str:
    return hmac.new(secret, f"{method}|{host}".encode(), hashlib.sha256).hexdigest()[:MAC_DIGITS]


def _read_stem(text: str, *, needs_mark: bool) -> ProbeToken | TriggerToken | None:
    first, *rest = text.split(".")
    probe = _PROBE.fullmatch(first)
    if probe is not None:
        return ProbeToken(probe[1], Answer(probe[2])) if probe[2] in _ANSWER_WORDS else None
    trigger = _TRIGGER.fullmatch(first)
    if trigger is None:
        return None
    if MARK in rest:
        rest = rest[: rest.index(MARK)]
    elif needs_mark:
        return None
    host = _host_of_labels(rest)
    return None if host is None else TriggerToken(trigger[1], trigger[2], host)


_ANSWER_WORDS = frozenset(answer.value for answer in Answer)


def _host_of_labels(labels: list[str]) -> str | None:
    if len(labels) == 1 and labels[0].startswith("ip6-"):
        try:
            return str(IPv6Address(labels[0].removeprefix("ip6-").replace("-", ":")))
        except ValueError:
            return None
    return _canonical_host(".".join(labels))


def _canonical_host(text: str) -> str | None:
    """Return the host in the one form that the mac is made over; None where it is no host."""
    host = text.lower().removesuffix(".")
    try:
        if ":" in host:
            # A zone (RFC 4007) has no meaning off this machine and can't stand in a name.
            return None if "%" in host else str(IPv6Address(host))
        if host.replace(".", "").isdecimal():
            return str(IPv4Address(host)) if len(host.split(".")) == _OCTETS else None
    except ValueError:
        return None
    # ``ip6-`` begins the written form of an address; a DNS name of one label like that would read back as another host.
    if len(host) > _NAME_CHARACTERS or ("." not in host and host.startswith("ip6-")):
        return None
    return host if all(_LABEL.fullmatch(label) for label in host.split(".")) else None


def _normal_name(name: str) -> str:
    return name.lower().removesuffix(".")


def _checked_name(name: str) -> str:
    if len(name) > _NAME_CHARACTERS:
        raise ValueError(f"the name would have {len(name)} characters, more than {_NAME_CHARACTERS}: {name}")
    for label in name.split("."):
        if len(label) > _LABEL_CHARACTERS:
            raise ValueError(f"a label would have {len(label)} characters, more than {_LABEL_CHARACTERS}: {label}")
        if _LABEL.fullmatch(label) is None:
            raise ValueError(f"not a DNS name in A-label form: {name!r}")
    return name

"""Proxy-Authorization: which scheme a proxy is answered with, and how (RFC 7235, 7616, 7617).

Credentials go only to a proxy that has asked for them with a 407. Of what it offers, the strongest is used: Digest with
SHA-256, Digest with MD5, Basic; and a proxy that once offered Digest is never sent Basic later. Credentials that it
refuses are not sent again in the same run: an account must not be locked by a scan. Digest with a new nonce where the
proxy says ``stale=true`` is no refusal.

Own code: on PyPI, what speaks Digest is bound to an HTTP client (requests, httpx, aiohttp), does no proxies or no
SHA-256, or has not been released for ten years. The test vectors are those of the RFCs, and curl's answers.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scanner.untrusted import clean_text
from scanner.upgrade.credentials import Credentials

_MAX_CHALLENGE_CHARS = 8_192
_MAX_STALE_COUNT = 4
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # RFC 9110's word for it
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$)))?")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_ALGORITHMS = {"md5": "md5", "md5-sess": "md5", "sha-256": "sha256", "sha-256-sess": "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One scheme that a proxy offers (RFC 9110 section 11.6.1). All text is from the network."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str]
    """By name in lower case; values are ISO 8859-1 text of the bytes sent, without quotes."""

    @property
    def rank(self) -> int:
        """How strong it is: 3 Digest SHA-256, 2 Digest MD5, 1 Basic, 0 one that this program can't answer."""
        if self.scheme == "basic":
            return 1
        if self.scheme != "digest" or "nonce" not in self.parameters or "realm" not in self.parameters:
            return 0
        if "qop" in self.parameters and not self.may_use_qop:
            return 0
        name = _ALGORITHMS.get(self.parameters.get("algorithm", "md5").lower())
        return {"sha256": 3, "md5": 2, None: 0}[name]

    @property
    def may_use_qop(self) -> bool:
        """Whether qop=auth is offered."""
        return "auth" in {part.strip().lower() for part in self.parameters.get("qop", "").split(",")}

    @property
    def title(self) -> str:
        """For people: ``Negotiate``, ``Digest (auth-int)``."""
        text = clean_text(self.scheme.capitalize() if self.scheme != "ntlm" else "NTLM", max_chars=40)
        if self.scheme == "digest":
            detail = self.parameters.get("algorithm", "MD5")
            if "qop" in self.parameters and not self.may_use_qop:
                detail += f", {self.parameters['qop']}"
            text += f" ({clean_text(detail, max_chars=40)})"
        return text


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Parse the values of all Proxy-Authenticate fields; never raises, passes over what it can't read."""
    found: list[Challenge] = []
    for whole in values:
        value = whole[:_MAX_CHALLENGE_CHARS]
        at = 0
        while at < len(value):
            if match := _PARAMETER.match(value, at):
                name, quoted, token = match.groups()
                text = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                if found:
                    found[-1].parameters.setdefault(name.lower(), text)
            elif match := _SCHEME.match(value, at):
                found.append(Challenge(scheme=match[1].lower(), parameters={}))
            else:
                comma = value.find(",", at + 1)
                at = len(value) if comma < 0 else comma
                continue
            at = match.end()
    return tuple(found)


def render_basic(credentials: Credentials) -> str:
    """Render Basic (RFC 7617) with UTF-8."""
    return "Basic " + b64encode(f"{credentials.user}:{credentials.password}".encode()).decode("ascii")


def render_digest(
    challenge: Challenge, credentials: Credentials, *, method: str, uri: str, client_nonce: str, count: int
) -> str:
    """Render Digest (RFC 7616 section 3.4; without qop as in RFC 2069); ISO 8859-1 text of the bytes to send.

    count: how often the challenge's nonce was used, this time included. The challenge's rank must not be 0.
    """
    parameters = challenge.parameters
    named = parameters.get("algorithm")
    algorithm = (named or "MD5").lower()
    realm, nonce = parameters["realm"], parameters["nonce"]
    user = credentials.user.encode().decode("latin-1")
    password = credentials.password.encode().decode("latin-1")

    def digest(*parts: str) -> str:
        data = ":".join(parts).encode("latin-1")
        return hashlib.new(_ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()

    first = digest(user, realm, password)
    is_session = algorithm.endswith("-sess")
    if is_session:
        first = digest(first, nonce, client_nonce)
    second = digest(method, uri)
    fields = [f"username={_quoted(user)}", f"realm={_quoted(realm)}", f"nonce={_quoted(nonce)}", f"uri={_quoted(uri)}"]
    if challenge.may_use_qop:
        fields += ["qop=auth", f"nc={count:08x}", f"cnonce={_quoted(client_nonce)}"]
        response = digest(first, nonce, f"{count:08x}", client_nonce, "auth", second)
    else:
        fields += [f"cnonce={_quoted(client_nonce)}"] if is_session else []
        response = digest(first, nonce, second)
    fields.append(f'response="{response}"')
    if named is not None:
        fields.append(f"algorithm={named}")
    if "opaque" in parameters:
        fields.append(f"opaque={_quoted(parameters['opaque'])}")
    return "Digest " + ", ".join(fields)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class ProxyAuth:
    """What one proxy asked for, kept from one connection to the next; and whether it refused the credentials."""

    def __init__(self, make_client_nonce: Callable[[], str] | None = None) -> None:
        """make_client_nonce: returns 32 random hex digits or the like; None: from the system."""
        self.is_refused = False
        """Whether the proxy refused the credentials: they are not sent again."""
        self._make_client_nonce = make_client_nonce or (lambda: secrets.token_hex(16))
        self._challenge: Challenge | None = None
        self._client_nonce = ""
        self._count = 0
        self._best_rank = 0
        self._stale_count = 0

    def __repr__(self) -> str:
        scheme = None if self._challenge is None else self._challenge.title
        return f"ProxyAuth(scheme={scheme!r}, is_refused={self.is_refused})"

    def render(self, credentials: Credentials | None, *, method: str, uri: str) -> str | None:
        """Return the value of Proxy-Authorization for the next request, or None where there is nothing to say yet."""
        if credentials is None or self._challenge is None or self.is_refused:
            return None
        if self._challenge.scheme == "basic":
            return render_basic(credentials)
        self._count += 1
        return render_digest(
            self._challenge,
            credentials,
            method=method,
            uri=uri,
            client_nonce=self._client_nonce,
            count=self._count,
        )

    def on_accepted(self) -> None:
        """Take note that the proxy did not ask, or was content."""
        self._stale_count = 0

    def on_refused(self) -> None:
        """Take note that the proxy refused the credentials."""
        self.is_refused = True
        self._challenge = None

    def on_challenge(self, values: Sequence[str], *, has_credentials: bool, was_answered: bool) -> str | None:
        """Take note of a 407's Proxy-Authenticate; return why there is no answer to it, or None: render has one.

        was_answered: whether the request carried credentials.
        """
        challenges = parse_challenges(values)
        offered = sorted(challenges, key=lambda challenge: -challenge.rank)
        if not challenges:
            return "the proxy does not say what it asks for"
        best = offered[0]
        names = " or ".join(dict.fromkeys(challenge.title for challenge in challenges[:4]))
        if best.rank == 0:
            return f"the proxy asks for {names}, which this program doesn't speak"
        if not has_credentials:
            return f"the proxy asks for {names}, and there are no credentials for it"
        if self.is_refused:
            return "the proxy refused the credentials before"
        if best.rank == 1 < self._best_rank:
            return "the proxy asks for Basic only where it offered Digest before; the password is not sent like that"
        if was_answered:
            self._stale_count += 1
            is_stale = best.parameters.get("stale", "").lower() == "true"
            if not is_stale or self._stale_count > _MAX_STALE_COUNT:
                self.on_refused()
                return "the proxy refused the credentials"
        self._challenge = best
        self._best_rank = max(self._best_rank, best.rank)
        self._client_nonce = self._make_client_nonce()
        self._count = 0
        return None

"""One client with one set of options, and how to make it try once."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, Versions
from tests.lab.openssl_factories import write_openssl_conf

if TYPE_CHECKING:
    from tests.lab.requirements import Requirement

PROGRAMS = Path(__file__).parent / "programs"
"""Small clients of our own around a library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where one attempt goes."""

    address: str
    port: int
    server_name: str
    """Sent as SNI."""
    home: Path
    """An empty directory of the attempt's own."""


class Outcome(Enum):
    """What became of one attempt, in the client's own words."""

    COMPLETED = "completed"
    """The handshake ran to its end."""
    DISTRUSTED = "distrusted"
    """The client took the version and refused the certificate."""
    FAILED = "failed"
    """Anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKind:
    """One client program or library with one set of options."""

    name: str
    """Unique, such as ``curl-12-13``."""
    stack: str
    """Program and TLS library, for people."""
    expected: Versions
    """The versions that its options let it use: it settles for each of them and for no other."""
    offers: Versions
    """The versions that its hello offers."""
    trusts: bool = True
    """True where it goes on with any certificate; False where it verifies and knows no authority of the test's."""
    sends_name: bool = True
    """False where it sends no SNI: a hello in SSLv2 format has no place for one, and most for SSLv3 alone have none."""
    config: str
    """The options that pin it."""
    requires: tuple[Requirement, ...]
    """What must be installed."""
    command: Callable[[Aim], Sequence[str | Path]]
    """Makes the command line of one attempt."""
    environment: Callable[[Aim], dict[str, str]] = lambda _: {}
    """Makes what is added to its environment."""
    completed: str
    """Regular expression: in its output where the handshake completed."""
    distrusted: str | None = None
    """The same where it refused the certificate; for clients with ``trusts`` False."""
    limit_s: float = 15.0
    """Longest time for one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt."""

    outcome: Outcome
    said: str
    """What the client printed."""


def run(kind: ClientKind, address: str, port: int, server_name: str) -> Run:
    """Have the client try once to reach ``address:port`` with ``server_name`` as SNI; bounded in time.

    Chromium alone may open more than one connection for it.
    """
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as directory:
        aim = Aim(address=address, port=port, server_name=server_name, home=Path(directory))
        said = _output(kind, aim)
    if kind.distrusted is not None and re.search(kind.distrusted, said):
        outcome = Outcome.DISTRUSTED
    elif re.search(kind.completed, said):
        outcome = Outcome.COMPLETED
    else:
        outcome = Outcome.FAILED
    return Run(outcome=outcome, said=said)


def _output(kind: ClientKind, aim: Aim) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(aim.home)}
    # A proxy from the machine's own environment would be what reaches the server.
    environment = {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}
    environment |= write_openssl_conf(aim.home) | kind.environment(aim)
    process = subprocess.Popen(
        [str(part) for part in kind.command(aim)],
        cwd=aim.home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=kind.limit_s)
        note = ""
    except subprocess.TimeoutExpired:
        note = "\ntimed out"
        output = b""
    finally:
        # The group: Chromium leaves children behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.poll() is None:
            output, _ = process.communicate()
    return output.decode("utf-8", "replace") + note


def foreign_ca(home: Path) -> Path:
    """Write an authority that signed nothing, for clients that insist on knowing one; return its file (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some other CA")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
    certificate = (
        builder.serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = home / "other-ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def short_name(stack: str, versions: Versions, *, trusts: bool = True) -> str:
    """Return ``curl-10-11-12`` or ``curl-12-distrusts``."""
    numbers = {SSL2: "ssl2", SSL3: "ssl3", TLS1_0: "10", TLS1_1: "11", TLS1_2: "12", TLS1_3: "13"}
    parts = [stack, *(numbers[version] for version in sorted(versions))]
    return "-".join(parts if trusts else [*parts, "distrusts"])

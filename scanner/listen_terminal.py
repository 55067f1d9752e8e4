"""Between ``entra-tls listen`` and its use case: a line for each connection, Ctrl-C, and what is left at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from scanner.app import judge_stored, new_listening_run
from scanner.listener.access import render_destination
from scanner.listener.identity import Identity, IdentityError, make_identity, open_identity, read_identity
from scanner.listener.limits import Counters
from scanner.listener.opening import ListenerError, parse_place, read_secret
from scanner.listening import listen
from scanner.model.exchange import Exchange
from scanner.model.runs import Run
from scanner.outbound.arrivals import Outcome, read_arrival
from scanner.outbound.tokens import NO_NAME_SUFFIX
from scanner.reports.text import print_result
from scanner.results import Results
from scanner.store.stored import StoreError
from scanner.terminal import fail, maybe_folder, print_note
from scanner.untrusted import clean_text

if TYPE_CHECKING:
    from scanner.store import Store

_LINES_A_SECOND = 20
_MOST_NAME_CHARS = 100
_FIRST_FREE_PORT = 1024  # the usual net.ipv4.ip_unprivileged_port_start


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenIO:
    """What the command line says."""

    binds: tuple[str, ...]
    """``ADDRESS:PORT``."""
    name: str | None
    """DNS name that leads here."""
    ca_folder: Path | None
    """Where the authority is kept."""
    certificate: Path | None
    """The user's own chain."""
    key: Path | None
    """Its key."""
    secret_file: Path | None
    """The shared secret's file."""
    db: str | None
    """Where the run is stored; None: nowhere that lasts."""
    duration_s: float | None
    """After which it stops; None: not by itself."""
    is_quiet: bool
    """Whether only errors are shown."""


def run_listener(io: ListenIO, *, policy_id: str) -> tuple[Results, str | None]:
    """Listen until Ctrl-C or the time is up; return what came, judged, and why it is not stored.

    Ends with a clear message where it can't begin.
    """
    from scanner.store import open_store  # noqa: PLC0415  # SQLAlchemy only where a run is stored

    name = _checked_name(io.name)
    with ExitStack() as stack:
        try:
            binds = [parse_place(text, needs_address=True) for text in io.binds]
            secret = read_secret(os.environ, io.secret_file)
            _check_binds(binds)
            identity = _open_identity(io, name)
            db = io.db
            if db is None:
                db = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entra-tls-"))) / "listen.sqlite")
            store = stack.enter_context(open_store(db))
            view = _View(io, identity)
            run = new_listening_run(policy_id)
        except (ListenerError, IdentityError, StoreError) as error:
            fail(str(error))
        except OSError as error:
            fail(f"can't begin to listen: {error.strerror or error}")
        try:
            asyncio.run(_listen(run, store, binds=binds, identity=identity, secret=secret, name=name, io=io, view=view))
        except StoreError as error:
            fail(str(error))
        except OSError as error:
            fail(f"can't listen on {', '.join(io.binds)}: {error.strerror or error}")
        try:
            results = judge_stored(store, run.id, spool_folder=maybe_folder(io.db), on_note=print_note)
        except (StoreError, OSError) as error:
            # What is stored is more than what can be said of it now.
            fail(f"what came can't be judged: {error}" + ("" if io.db is None else f"; run {run.id} is in {io.db}"))
    if not io.is_quiet:
        print_result(results, Console())
    return results, view.store_failure


async def _listen(
    run: Run,
    store: Store,
    *,
    binds: Sequence[tuple[str, int]],
    identity: Identity,
    secret: bytes | None,
    name: str | None,
    io: ListenIO,
    view: _View,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: Ctrl-C raises
            break
    if io.duration_s is not None:
        loop.call_later(io.duration_s, stop.set)
    await listen(
        run,
        store,
        binds=binds,
        identity=identity,
        secret=secret,
        name_suffix=name or NO_NAME_SUFFIX,
        observer=view,
        stop=stop,
    )
    view.finish()


def _check_binds(binds: Sequence[tuple[str, int]]) -> None:
    """End before anything is written where an address can't be had."""
    for host, port in binds:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            advice = ""
            if isinstance(error, PermissionError) and port < _FIRST_FREE_PORT:
                advice = f"; ports below {_FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE: try --bind 0.0.0.0:8443"
            # What create_server adds in its own words says the same again.
            reason = os.strerror(error.errno) if error.errno else str(error)
            fail(f"can't listen on {render_destination(host, port)}: {reason}{advice}")


def _checked_name(text: str | None) -> str | None:
    if text is None:
        return None
    from scanner.target_forms import FormError, parse_name  # noqa: PLC0415  # loads the tables of IDNA

    try:
        return parse_name(text)
    except FormError as error:
        fail(f"--name: {error.problem}; {error.mend}")


def _open_identity(io: ListenIO, name: str | None) -> Identity:
    """Return the certificates to listen with; raises IdentityError."""
    if io.certificate is not None:
        if io.ca_folder is not None:
            fail("--certificate and --ca-folder can't be given together")
        return read_identity(io.certificate, io.key)
    if io.key is not None:
        fail("--key needs --certificate")
    default_name = name or NO_NAME_SUFFIX
    if io.ca_folder is not None:
        return open_identity(io.ca_folder, default_name=default_name)
    return make_identity(default_name=default_name)


class _View:
    """ListenObserver: says on standard error what goes on, at most so many lines a second."""

    def __init__(self, io: ListenIO, identity: Identity) -> None:
        self.store_failure: str | None = None
        """Why the store failed; None where it did not."""
        self._console = Console(stderr=True)
        self._io = io
        self._identity = identity
        self._second = 0
        self._shown = 0
        self._left_out = 0

    def on_listening(self, addresses: Sequence[tuple[str, int]], counters: Counters) -> None:  # noqa: ARG002  # ListenObserver's shape
        if self._io.is_quiet:
            return
        places = ", ".join(render_destination(*address) for address in addresses)
        self._say(f"Listening on {places}; Ctrl-C ends it and reports what came.")
        folder = self._io.ca_folder
        if folder is not None:
            self._say(f"Clients that are to complete handshakes must trust {folder / 'ca.pem'}.")
        if self._io.db is None:
            self._say("Nothing is kept after the end but the reports asked for; --db keeps the run.")

    def on_exchange(self, exchange: Exchange) -> None:
        if self._io.is_quiet:
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._shown = second, 0
            self._say_left_out()
        if self._shown >= _LINES_A_SECOND:
            self._left_out += 1
            return
        self._shown += 1
        self._say(_describe(exchange))

    def on_store_failure(self, error: StoreError) -> None:
        self.store_failure = str(error)
        self._console.print(Text(f"entra-tls: {error}", style="red"), soft_wrap=True)

    def finish(self) -> None:
        """Say what was not said."""
        self._say_left_out()

    def _say_left_out(self) -> None:
        if self._left_out:
            self._say(f"... and {self._left_out:,} more connections")
            self._left_out = 0

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True, highlight=False)


def _describe(exchange: Exchange) -> str:
    """Return one line for a connection."""
    endpoint = exchange.request.endpoint
    arrival = read_arrival(exchange)
    at = exchange.started_at.astimezone().strftime("%H:%M:%S")
    who = endpoint.address if endpoint.host == endpoint.address else f"{endpoint.host} from {endpoint.address}"
    name = f" asks for {clean_text(endpoint.server_name, max_chars=_MOST_NAME_CHARS)}" if endpoint.server_name else ""
    if arrival.hello is None:
        return f"{at} {who}: no TLS: {arrival.text}"
    versions = ", ".join(version.title for version in arrival.hello.offered())
    offers = versions if arrival.hello.supported_versions is not None else f"at most {versions or 'nothing known'}"
    answered = arrival.answered or arrival.asked
    settled = (
        "" if answered is None or arrival.outcome is Outcome.NOT_ANSWERED else f"; {answered.title}: {arrival.text}"
    )
    return f"{at} {who}{name}: offers {offers}{settled}"

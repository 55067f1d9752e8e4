"""The listener's use case on loopback: what comes is stored while it runs, and put together again at the end."""

import asyncio
import errno
import socket
from dataclasses import replace

import pytest

from scanner.app import judge_stored, new_listening_run
from scanner.listening import MOST_JUDGED, join_parts, listen
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Role, Target
from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name
from scanner.store import open_store
from scanner.store.stored import StoredHost, StoreError
from tests.listener.hellos import client_hello
from tests.listener.running import identity, tls_client
from tests.outbound.test_arrivals import exchange


class Observer:
    def __init__(self):
        self.port = 0
        self.exchanges = []
        self.failures = []
        self.is_listening = asyncio.Event()

    def on_listening(self, addresses, counters):
        assert counters.open == 0
        ((_, self.port),) = addresses
        self.is_listening.set()

    def on_exchange(self, exchange):
        self.exchanges.append(exchange)

    def on_store_failure(self, error):
        self.failures.append(str(error))


class FailingStore:
    """A store whose disk is full after so many parts; everything else is the real one's."""

    def __init__(self, store, good):
        self._store = store
        self._good = good

    def __getattr__(self, name):
        return getattr(self._store, name)

    def append_packed(self, run_id, batch):
        if self._good == 0:
            raise StoreError("database or disk is full")
        self._good -= 1
        self._store.append_packed(run_id, batch)


def drive(store, visit, **more):
    """Listen, let visit(port, observer) do its work, stop; return (run, observer)."""

    async def go():
        observer, stop = Observer(), asyncio.Event()
        run = new_listening_run("entra-drs")
        task = asyncio.create_task(
            listen(
                run,
                store,
                binds=[("127.0.0.1", 0)],
                identity=identity(),
                secret=None,
                name_suffix="l.example",
                observer=observer,
                stop=stop,
                **more,
            )
        )
        async with asyncio.timeout(60):
            await asyncio.wait([task, asyncio.create_task(observer.is_listening.wait())], return_when="FIRST_COMPLETED")
            if not task.done():
                await visit(run, observer)
                stop.set()
            return await task, observer

    return asyncio.run(go())


async def come(observer, *names):
    """Visit with each name, and wait until all were handed out."""
    before = len(observer.exchanges)
    for name in names:
        await asyncio.to_thread(tls_client, observer.port, name)
    while len(observer.exchanges) < before + len(names):  # noqa: ASYNC110  # an observer has no event for tests
        await asyncio.sleep(0.01)


def stored_parts(store, run):
    return list(store.iter_stored(run.id))


async def until_stored(store, run, count):
    while sum(len(part.record.exchanges) for part in stored_parts(store, run)) < count:  # noqa: ASYNC110  # the same
        await asyncio.sleep(0.05)


def test_exchanges_are_stored_as_parts_while_it_runs_and_joined(tmp_path):
    other = "t-0-curl.sts.example.tls-probe.l.example"

    async def visit(run, observer):
        await come(observer, "a.example")
        await until_stored(store, run, 1)
        assert not store.load_checkpoint(run.id, below=0).run.is_complete, "it is still at work"
        await come(observer, "a.example", other)
        await until_stored(store, run, 3)

    with open_store(str(tmp_path / "l.sqlite")) as store:
        run, observer = drive(store, visit)
        parts = stored_parts(store, run)
        assert [part.record.target.host for part in parts] == ["127.0.0.1", "127.0.0.1", "sts.example"]
        assert [len(part.record.exchanges) for part in parts] == [1, 1, 1]
        notes = []
        joined = {record.target.host: record for record in join_parts(parts, notes.append)}
        assert (joined.keys(), notes) == ({"127.0.0.1", "sts.example"}, [])
        stored = [exchange for record in joined.values() for exchange in record.exchanges]
        assert [each.request.id for each in joined["127.0.0.1"].exchanges] == [1, 2]
        assert {each.received for each in stored} == {each.received for each in observer.exchanges}
        assert joined["127.0.0.1"].endpoints == ()
        assert joined["sts.example"].resolution.addresses == ("127.0.0.1",)
        again = store.load_checkpoint(run.id, below=0).run
        assert (again.is_complete, again.finished_at, again.command) == (True, run.finished_at, "listen")
        with judge_stored(store, "latest") as results:
            assert (results.summary["hosts"], results.has_known) == (2, True)


def test_what_waits_is_stored_at_the_end(tmp_path):
    async def visit(_run, observer):
        await come(observer, "a.example", "a.example")

    with open_store(str(tmp_path / "l.sqlite")) as store:
        run, observer = drive(store, visit)
        assert sum(len(part.record.exchanges) for part in stored_parts(store, run)) == 2
        assert observer.failures == []


def test_connections_open_at_the_end_are_stored_too(tmp_path):
    async def visit(_run, observer):
        client.connect(("127.0.0.1", observer.port))
        client.sendall(client_hello(name="half.example"))
        await asyncio.sleep(0.3)

    with socket.socket() as client, open_store(str(tmp_path / "l.sqlite")) as store:
        run, _ = drive(store, visit)
        (part,) = stored_parts(store, run)
        assert [each.request.endpoint.server_name for each in part.record.exchanges] == ["half.example"]


def test_a_store_that_fails_ends_it_and_is_told_once(tmp_path):
    async def visit(run, observer):
        await come(observer, "a.example")
        await until_stored(real, run, 1)
        await come(observer, "b.example")
        while not observer.failures:  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.05)

    with open_store(str(tmp_path / "l.sqlite")) as real:
        run, observer = drive(FailingStore(real, 1), visit)
        assert observer.failures == ["database or disk is full"]
        assert not run.is_complete
        assert [len(part.record.exchanges) for part in stored_parts(real, run)] == [1]
        assert not real.load_checkpoint(run.id, below=0).run.is_complete


def test_much_that_waits_is_stored_at_once(tmp_path, monkeypatch):
    """Memory stays bounded however fast they come."""
    monkeypatch.setattr("scanner.listening._FLUSH_S", 1000.0)
    monkeypatch.setattr("scanner.listening._MOST_WAITING_BYTES", 1)

    async def visit(run, observer):
        await come(observer, "a.example", "a.example")
        assert len(stored_parts(store, run)) == 2

    with open_store(str(tmp_path / "l.sqlite")) as store:
        drive(store, visit)


def test_an_address_that_is_taken_begins_no_run(tmp_path):
    async def go(port):
        await listen(
            new_listening_run("entra-drs"),
            store,
            binds=[("127.0.0.1", port)],
            identity=identity(),
            secret=None,
            name_suffix="l.example",
            observer=Observer(),
            stop=asyncio.Event(),
        )

    with socket.create_server(("127.0.0.1", 0)) as taken, open_store(str(tmp_path / "l.sqlite")) as store:
        with pytest.raises(OSError, match="in use") as raised:
            asyncio.run(go(taken.getsockname()[1]))
        assert raised.value.errno == errno.EADDRINUSE
        assert not store.list_runs()


def stored(position, host, count, first_id=1, *, name="a.example"):
    one = exchange(client_hello(name=name), b"", version=None)
    one = replace(one, request=replace(one.request, endpoint=replace(one.request.endpoint, server_name=name)))
    exchanges = tuple(replace(one, request=replace(one.request, id=first_id + place)) for place in range(count))
    record = HostRecord(
        target=Target(text=host, host=host, role=Role.SERVER, ports=()),
        resolution=Resolution(),
        endpoints=(),
        exchanges=exchanges,
    )
    return StoredHost(position=position, record=record, has_bytes=True, judged=None, is_final=True)


def test_most_that_is_judged_of_one_host():
    """The first, and the user is told; another host is not touched by it."""
    assert MOST_JUDGED == 2_000
    notes = []
    parts = [stored(0, "a", 1_500), stored(1, "b", 3), stored(2, "a", 1_500, 1_501), stored(3, "a", 5, 3_001)]
    one, two = join_parts(iter(parts), notes.append)
    assert [each.request.id for each in one.exchanges] == list(range(1, 2_001))
    assert len(two.exchanges) == 3
    assert notes == ["a: the first 2,000 of 3,005 connections are judged; all are stored"]
    assert join_parts([stored(0, "a", 2_000)], notes.append)
    assert len(notes) == 1


def test_who_came_for_scans_alone_is_no_host_of_the_listener():
    """A proxy that a scan asked is judged in the scan's run; one that connects by itself as well is a host."""
    notes = []
    name = encode_probe_name(ProbeToken(nonce="0123456789abcdef", answer=Answer.ANY), "l.example")
    parts = [stored(0, "proxy", 4, name=name), stored(1, "both", 4, name=name), stored(2, "both", 1, 5)]
    (joined,) = join_parts(parts, notes.append)
    assert joined.target.host == "both"
    assert len(joined.exchanges) == 5
    assert notes == ["connected for scans alone (proxies that were asked), and so not listed: proxy"]

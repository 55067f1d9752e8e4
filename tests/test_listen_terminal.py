"""What ``entra-tls listen`` shows: bounded, harmless lines for connections, and messages where it can't begin."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
import trustme
import typer

from scanner.listen_terminal import ListenIO, _describe, _View, run_listener
from scanner.listener.limits import Counters
from scanner.model.exchange import Ending
from scanner.store.stored import StoreError
from tests.listener.hellos import client_hello
from tests.listener.running import identity
from tests.outbound.hellos import server_hello_bytes
from tests.outbound.test_arrivals import exchange

CONTROL = {chr(number) for number in (*range(32), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x200B)} - {"\n"}
HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\u2066[bold red]x[/]"


def io(**more):
    plain = dict.fromkeys(("name", "ca_folder", "certificate", "key", "secret_file", "db", "duration_s"))
    return ListenIO(**{**plain, "binds": ("127.0.0.1:1",), "is_quiet": False, **more})


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("scanner.listen_terminal.time.monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def view():
    return _View(io(), identity())


# --- lines ------------------------------------------------------------------------------------------------------


def test_a_line_says_who_offers_what_and_what_was_settled():
    line = _describe(
        exchange(
            client_hello(listed=[0x0304, 0x0303], name="sts.example"),
            server_hello_bytes(0x0303),
            completed=True,
            name="sts.example",
        )
    )
    assert line[8:].endswith(" asks for sts.example: offers TLS 1.3, TLS 1.2; TLS 1.2: completed")


def test_without_a_list_only_the_most_is_known():
    assert "offers at most TLS 1.2" in _describe(exchange(client_hello(), version=None))


def test_what_is_no_hello_is_told_without_its_bytes():
    line = _describe(exchange(b"GET /\x1b[2J HTTP/1.1\r\n\r\n", version=None, ending=Ending.PEER_CLOSED))
    assert ": no TLS: sent " in line
    assert not CONTROL & set(line)


@pytest.mark.parametrize("length", [1, 255, 60_000])
def test_hostile_names_steer_no_terminal(view, capfd, length):
    """SNI is bytes of anybody's; the terminal gets neither what steers it nor what rich would take for markup."""
    name = (HOSTILE * (length // len(HOSTILE) + 1))[: max(length, len(HOSTILE))]
    seen = exchange(client_hello(name="placeholder"), version=None, name=name)
    view.on_exchange(seen)
    hello = client_hello(name="placeholder").replace(b"placeholder", b"\x1b[2Jx\r\nyzab"[:11])
    view.on_exchange(exchange(hello, version=None))
    said = capfd.readouterr().err
    assert not CONTROL & set(said)
    assert said.count("\n") == 2
    assert max(map(len, said.splitlines())) < 300


def test_a_flood_is_told_of_in_few_lines(view, capfd, now):
    for _ in range(3):
        for _ in range(5_000):
            view.on_exchange(exchange(client_hello(), version=None))
        now[0] += 1
    view.finish()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3 * 20 + 3
    assert [line for line in lines if line.startswith("...")] == ["... and 4,980 more connections"] * 3


def test_nothing_is_said_twice_at_the_end(view, capfd):
    view.on_exchange(exchange(client_hello(), version=None))
    view.finish()
    view.finish()
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_it_says_where_it_listens_and_what_is_kept(capfd):
    _View(io(), identity()).on_listening([("127.0.0.1", 443), ("::1", 8443)], Counters())
    said = capfd.readouterr().err
    assert "Listening on 127.0.0.1:443, [::1]:8443" in said
    assert "Nothing is kept" in said
    _View(io(db="x", ca_folder=Path("here")), identity()).on_listening([("127.0.0.1", 443)], Counters())
    said = capfd.readouterr().err
    assert str(Path("here") / "ca.pem") in said
    assert "Nothing is kept" not in said


def test_quiet_is_quiet_but_for_failures(capfd):
    quiet = _View(io(is_quiet=True), identity())
    quiet.on_listening([("127.0.0.1", 443)], Counters())
    quiet.on_exchange(exchange(client_hello(), version=None))
    quiet.finish()
    assert capfd.readouterr().err == ""
    quiet.on_store_failure(StoreError("the disk is full"))
    assert quiet.store_failure == "the disk is full"
    assert "the disk is full" in capfd.readouterr().err


# --- where it can't begin -----------------------------------------------------------------------------------------


def fails(capfd, **more):
    """Run it; return the one line that it ends with."""
    with pytest.raises(typer.Exit) as ended:
        run_listener(io(**more), policy_id="entra-drs")
    assert ended.value.exit_code == 2
    out, said = capfd.readouterr()
    assert out == ""
    (line,) = said.splitlines()
    assert line.startswith("entra-tls: ")
    return line


def fail_to_bind(monkeypatch, number):
    def create_server(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("scanner.listen_terminal.socket.create_server", create_server)


def test_a_taken_port_leaves_nothing_behind(tmp_path, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        line = fails(capfd, binds=(place,), db=str(tmp_path / "l.sqlite"), ca_folder=tmp_path / "ca")
    assert line == f"entra-tls: can't listen on {place}: {os.strerror(errno.EADDRINUSE)}"
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_another_machine(tmp_path, capfd):
    line = fails(capfd, binds=("192.0.2.1:8443",), db=str(tmp_path / "l.sqlite"))
    assert line == f"entra-tls: can't listen on 192.0.2.1:8443: {os.strerror(errno.EADDRNOTAVAIL)}"
    assert list(tmp_path.iterdir()) == []


def test_one_of_two_that_is_taken_is_named(capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"can't listen on {place}:" in fails(capfd, binds=("127.0.0.2:18443", place))


def test_low_ports_that_are_not_permitted_come_with_advice(monkeypatch, capfd):
    fail_to_bind(monkeypatch, errno.EACCES)
    assert "CAP_NET_BIND_SERVICE" in fails(capfd, binds=("0.0.0.0:443",))
    assert "CAP_NET_BIND_SERVICE" not in fails(capfd, binds=("0.0.0.0:8443",))


@pytest.mark.parametrize("place", ["localhost:443", "443", "", "127.0.0.1", "127.0.0.1:0", "::1:443", "1.2.3.4:99999"])
def test_what_is_no_address_is_refused(capfd, place):
    assert repr(place) in fails(capfd, binds=(place,))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": "no name!"}, "--name: "),
        ({"certificate": Path("c"), "ca_folder": Path("f")}, "--certificate and --ca-folder"),
        ({"key": Path("k")}, "--key needs --certificate"),
        ({"certificate": Path("/nonexistent/cert.pem")}, "/nonexistent/cert.pem"),
        ({"secret_file": Path("/nonexistent/secret")}, "/nonexistent/secret can't be read"),
        ({"db": "/proc/nowhere/l.sqlite"}, "/proc/nowhere"),
        ({"ca_folder": Path("/proc/nowhere")}, "/proc/nowhere"),
    ],
)
def test_options_that_can_not_be(capfd, more, words):
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    assert words in fails(capfd, binds=(f"127.0.0.1:{port}",), **more)


def test_a_short_secret_is_refused_and_not_repeated(tmp_path, capfd):
    file = tmp_path / "secret"
    file.write_text("hunter2-hunter\n")
    assert "hunter2" not in fails(capfd, secret_file=file)


def test_a_key_of_another_certificate(tmp_path, capfd):
    authority = trustme.CA()
    one, two = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    two.private_key_pem.write_to_path(tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    line = fails(capfd, binds=(f"127.0.0.1:{port}",), certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    assert "does not belong to the key" in line


# --- at the end ---------------------------------------------------------------------------------------------------


@pytest.fixture
def free_place():
    with socket.create_server(("127.0.0.1", 0)) as freed:
        return f"127.0.0.1:{freed.getsockname()[1]}"


def test_time_is_up(tmp_path, capfd, free_place):
    results, failure = run_listener(
        io(binds=(free_place,), duration_s=0.3, db=str(tmp_path / "l.sqlite"), ca_folder=tmp_path / "ca"),
        policy_id="strict",
    )
    with results:
        assert (failure, results.summary["hosts"], results.is_complete) == (None, 0, True)
        assert results.run["policy"] == "strict"
    assert "No host was seen." in capfd.readouterr().out
    assert stat.S_IMODE((tmp_path / "ca" / "ca-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert b"PRIVATE" not in (tmp_path / "ca" / "ca.pem").read_bytes()


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path, monkeypatch, capfd, free_place):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results, _ = run_listener(io(binds=(free_place,), duration_s=0.1, is_quiet=True), policy_id="entra-drs")
    results.close()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_can_not_be_judged_is_stored_all_the_same(tmp_path, monkeypatch, capfd, free_place):
    def judge_stored(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("scanner.listen_terminal.judge_stored", judge_stored)
    with pytest.raises(typer.Exit):
        run_listener(io(binds=(free_place,), duration_s=0.1, db=str(tmp_path / "l.sqlite")), policy_id="entra-drs")
    line = capfd.readouterr().err.splitlines()[-1]
    assert "can't be judged" in line
    assert "No space left" in line
    assert str(tmp_path / "l.sqlite") in line

"""The command line as users meet it: child processes against real servers on loopback, nothing else."""

import asyncio
import csv
import io
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import click
import jsonschema
import pytest
import trustme
import typer
from typer.testing import CliRunner

from scanner import __version__
from scanner.app import scan_plan
from scanner.cli import EXIT_FAULT, app
from scanner.options import ScanOptions
from scanner.store import open_store
from scanner.sweep.plan import plan_targets
from scanner.targets import parse_arguments
from tests.farm import farm
from tests.hostile.peers import PEERS
from tests.hostile.runner import running
from tests.kinds_of_hosts import RUN

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((files("scanner.reports") / "report.schema.json").read_text(encoding="utf-8"))
DOCUMENT = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
PROGRAM = (sys.executable, "-c", "from scanner.cli import main; main()")
COMMANDS = typer.main.get_command(app).commands
FAST = ("--timeout", "1", "--resolver", "127.0.0.1:9")  # nobody is ever asked for a name


def run(*arguments, cwd=None, code=None, **environment):
    """Run the program; no traceback is ever right."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTRA_TLS", "COLUMNS"))}
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={**kept, "COLUMNS": "140", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def flat(text):
    return " ".join(text.split())


# --- servers ----------------------------------------------------------------------------------------------------


@contextmanager
def _listening(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        stop = threading.Event()

        def loop():
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=serve, args=(connection, stop), daemon=True).start()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join(timeout=5)


def _hold(connection, stop):
    with connection:
        stop.wait(30)


def _tls(authority, low, high):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = low, high

    def serve(connection, _stop):
        connection.settimeout(10)
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            connection.close()

    return serve


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def modern(authority):
    with _listening(_tls(authority, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def old(authority):
    with _listening(_tls(authority, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def legacy(authority):
    with _listening(_tls(authority, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2)) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def silent():
    with _listening(_hold) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def closed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"127.0.0.1:{port}"


# --- exit codes -------------------------------------------------------------------------------------------------


def test_0_where_all_is_well_and_known(modern):
    done = run("scan", modern, *FAST, code=0)
    assert "1 host: 1 ready, 0 not ready, 0 unknown." in done.stdout


def test_1_where_tls_1_2_is_missing(old):
    done = run("scan", old, *FAST, code=1)
    assert "failure: TLS 1.2 is not accepted (127.0.0.1)" in done.stdout


def test_1_where_old_versions_are_accepted_and_more_severe_by_strict(legacy):
    assert "warning: TLS 1.0 is accepted" in run("scan", legacy, *FAST, code=1).stdout
    assert "failure: TLS 1.0 is accepted" in run("scan", legacy, *FAST, "--policy", "strict", code=1).stdout


def test_3_where_something_is_unknown_and_0_where_that_is_allowed(modern, silent):
    done = run("scan", modern, silent, *FAST, code=3)
    assert "2 hosts: 1 ready, 0 not ready, 1 unknown." in done.stdout
    run("scan", modern, silent, *FAST, "--allow-unknown", code=0)


def test_1_is_stronger_than_3(old, silent):
    run("scan", old, silent, *FAST, code=1)


@pytest.mark.parametrize("which", ["silent", "closed"])
@pytest.mark.parametrize("more", [(), ("--allow-unknown",)])
def test_a_scan_that_saw_nothing_never_ends_with_0(which, more, request):
    run("scan", request.getfixturevalue(which), *FAST, *more, code=3)


def test_ranges_where_nothing_listens_are_counted_and_never_end_with_0(closed):
    port = closed.rpartition(":")[2]
    done = run("scan", f"127.0.0.8/30:{port}", *FAST, "--allow-unknown", code=3)
    assert "No host was seen." in done.stdout
    assert "2 range addresses without a listener (REFUSED)" in done.stdout


def test_a_name_that_leads_nowhere_is_unknown():
    done = run("scan", "nowhere.example", *FAST, code=3)
    assert "NOT READY" not in done.stdout


# --- usage ------------------------------------------------------------------------------------------------------


def test_all_bad_lines_at_once_with_file_and_line_and_nothing_is_scanned(tmp_path, modern):
    targets = tmp_path / "targets.txt"
    targets.write_text(f"{modern}\n[nonsense]\na b c\n[servers]\nx.example port=99999\n")
    report = tmp_path / "report.json"
    done = run("scan", "bad/host name", "--file", targets, "--json", report, code=2)
    for line in (2, 3, 5):
        assert f"{targets}:{line}:" in done.stderr
    assert "4 bad target lines; nothing was scanned" in done.stderr
    assert done.stdout == ""
    assert not report.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scan",), "no target: name some, or give a targets file with --file"),
        (("scan", "a.example", "--policy", "nope"), "no policy 'nope'; there are entra-drs, strict"),
        (("scan", "a.example", "--resolver", "dns.example"), "--resolver takes an address"),
        (("scan", "a.example", "--resolver", "192.0.2.1:port"), "--resolver takes an address"),
        (("scan", "--file", "missing.txt"), "missing.txt: the file can't be read"),
        (("scan", "a.example", "--html", "missing/report.html"), "there is no folder missing"),
        (("scan", "a.example", "--json", "."), "can't be written"),
        (
            ("scan", "a.example", "--json", "/proc/report.json"),
            "/proc/report.json can't be written",
        ),  # not by root either
        (("scan", "a.example", "--sslyze-json", "/proc/folder"), "the folder /proc/folder can't be made"),
        (("scan", "a.example", "--timeout", "0"), "--timeout"),
        (("scan", "a.example", "--confirm", "some"), "--confirm"),
        (("scan", "a.example", "--no-such-option"), "--no-such-option"),
        (("scan", "a.example", "--db", "nonsense://x"), "nonsense"),
        (("report", "latest", "--db", "missing.sqlite"), "there is no such database"),
        (("report", "latest"), "--db"),
        (("runs",), "--db"),
        (("runs", "--db", "missing.sqlite"), "there is no such database"),
        (("endpoints", "--cloud", "mars"), "no cloud 'mars'; there are global, usgov, china"),
        (("nonsense",), "nonsense"),
    ],
)
def test_2_with_one_clear_message(arguments, words, tmp_path):
    done = run(*arguments, cwd=tmp_path, code=2)
    assert words in flat(done.stderr)
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_clear_message(modern):
    done = run("scan", modern, *FAST, "--quiet", "--json", "/dev/full", code=2)
    assert "/dev/full can't be written: No space left on device" in done.stderr


def test_a_fault_of_the_program_is_one_line_and_a_code_of_its_own():
    child = (
        "import scanner.policy, scanner.cli\n"
        "def fail(*_a, **_k): raise RuntimeError('boom')\n"
        "scanner.policy.read_policy = fail\n"
        "import sys; sys.argv = ['entra-tls', 'scan', '127.0.0.1:1', '--dry-run']\n"
        "scanner.cli.main()\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "ENTRA_TLS_DEBUG"}
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == EXIT_FAULT == 70
    assert done.stderr.count("\n") == 1
    assert "RuntimeError: boom" in done.stderr
    shown = subprocess.run(
        [sys.executable, "-c", child],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "ENTRA_TLS_DEBUG": "1"},
    )
    assert "Traceback" in shown.stderr


def test_an_interrupt_before_there_is_anything_to_keep_has_the_shell_s_code_for_it():
    child = (
        "import scanner.terminal, scanner.cli\n"
        "def stop(*_a, **_k): raise KeyboardInterrupt\n"
        "scanner.terminal.read_all_targets = stop\n"
        "import sys; sys.argv = ['entra-tls', 'scan', '127.0.0.1:1']\n"
        "scanner.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


# --- output -----------------------------------------------------------------------------------------------------


def test_the_reports_of_a_scan(tmp_path, modern, old):
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("html", "json", "csv")}
    options = [part for kind, path in paths.items() for part in (f"--{kind}", path)]
    done = run("scan", modern, f"{old} tag=branch", *FAST, *options, code=1)
    for path in paths.values():
        assert f"wrote {path}" in done.stderr
        assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    report = json.loads(paths["json"].read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    states = [{verdict["version"]: verdict["state"] for verdict in host["verdicts"]} for host in report["hosts"]]
    assert [state["TLS1.2"] for state in states] == ["enabled", "disabled"]
    assert [state["TLS1.0"] for state in states] == ["disabled", "enabled"]
    assert report["hosts"][1]["tags"] == ["branch"]
    rows = list(csv.DictReader(io.StringIO(paths["csv"].read_text(encoding="utf-8"), newline="")))
    assert len(rows) == 12
    assert paths["html"].read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.html", "report.json"]


def _umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_quiet_says_nothing(modern):
    done = run("scan", modern, *FAST, "--quiet", code=0)
    assert done.stdout + done.stderr == ""


def test_a_report_can_go_to_standard_output_which_stays_what_it_is(tmp_path, modern):
    out = tmp_path / "out.json"
    with out.open("w") as file:
        done = subprocess.run(
            [*PROGRAM, "scan", modern, *FAST, "--quiet", "--json", "/dev/stdout"], stdout=file, timeout=60, check=False
        )
    assert done.returncode == 0
    assert json.loads(out.read_text(encoding="utf-8"))["summary"]["ready"] == 1
    assert Path("/dev/stdout").is_symlink()


def test_a_link_is_written_through(tmp_path, modern):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    run("scan", modern, *FAST, "--quiet", "--json", tmp_path / "link.json", code=0)
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text(encoding="utf-8"))["schema"] == 1


def test_a_reader_that_goes_away_is_no_fault():
    child = subprocess.Popen([*PROGRAM, "endpoints"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=30) == 1
    assert errors == ""


def test_the_plan_contacts_nobody(tmp_path, modern):
    report = tmp_path / "report.json"
    done = run("scan", modern, "192.0.2.0/28", "--dry-run", "--json", report, code=0)
    assert "192.0.2.1 to 192.0.2.14" in done.stdout
    assert "(14 addresses)" in done.stdout
    assert "Nothing was contacted." in done.stdout
    assert "15 targets, 15 ports" in done.stdout
    assert not report.exists()


@pytest.mark.parametrize("columns", ["60", "80", "140"])
def test_the_plan_keeps_to_the_terminal_and_names_stay_whole(columns):
    done = run("scan", "--file", REPOSITORY / "targets.example.txt", "--dry-run", code=0, COLUMNS=columns)
    table = done.stdout.partition("\n52 targets")[0]
    assert max(map(len, table.splitlines())) <= int(columns)
    assert "…" not in table


def test_no_name_of_a_registration_endpoint_is_cut():
    done = run("endpoints", code=0, COLUMNS="60")
    for cloud in ("global", "usgov", "china"):
        assert f"@entra:{cloud}" in done.stdout
    assert "certauth.enterpriseregistration.windows.net\n" in done.stdout
    assert "https://learn.microsoft.com/en-us/entra/identity/devices/how-to-hybrid-join\n" in done.stdout
    assert "(unverified)" in done.stdout
    one = run("endpoints", "--cloud", "usgov", code=0).stdout
    assert "login.microsoftonline.us" in one
    assert "@entra:china" not in one


# --- runs kept --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory, modern, legacy, silent):
    folder = tmp_path_factory.mktemp("kept")
    run(
        "scan",
        modern,
        legacy,
        silent,
        *FAST,
        "--quiet",
        "--db",
        "runs.sqlite",
        "--json",
        "scan.json",
        cwd=folder,
        code=1,
    )
    return folder


def test_a_stored_run_is_the_same_report(kept):
    run("report", "latest", "--db", "runs.sqlite", "--json", "again.json", "--quiet", cwd=kept, code=1)
    assert json.loads((kept / "again.json").read_text()) == json.loads((kept / "scan.json").read_text())


def test_a_stored_run_by_another_policy(kept):
    identity = json.loads((kept / "scan.json").read_text())["run"]["id"]
    done = run("report", identity[:13], "--db", "runs.sqlite", "--policy", "strict", cwd=kept, code=1)
    assert "failure: TLS 1.0 is accepted" in done.stdout
    done = run("report", "1999", "--db", "runs.sqlite", cwd=kept, code=2)
    assert "1999" in done.stderr


def test_runs_are_listed(kept):
    identity = json.loads((kept / "scan.json").read_text())["run"]["id"]
    row = next(
        line for line in run("runs", "--db", "runs.sqlite", cwd=kept, code=0).stdout.splitlines() if identity in line
    )
    assert row.replace("│", " ").split()[-4:] == ["3", "yes", "entra-drs", "scan"]


def test_the_database_can_come_from_the_environment(kept):
    assert "entra-drs" in run("runs", cwd=kept, code=0, ENTRA_TLS_DB="runs.sqlite").stdout


# --- interruption -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_scan_reports_what_it_learned(tmp_path, modern, silent, number):
    report = tmp_path / "report.json"
    with subprocess.Popen(
        [*PROGRAM, "scan", modern, silent, "--timeout", "20", "--db", tmp_path / "runs.sqlite", "--json", report],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        time.sleep(2.5)
        child.send_signal(number)
        out, errors = child.communicate(timeout=20)
    assert child.returncode == 3, errors
    assert "Stopping: what was learned so far is kept." in errors
    assert "Traceback" not in errors
    assert "not complete" in out
    written = json.loads(report.read_text())
    assert written["run"]["is_complete"] is False
    states = {host["target"]: host["verdicts"][4]["state"] for host in written["hosts"]}
    assert states == {modern: "enabled", silent: "unknown"}
    assert [host["stopped"] for host in written["hosts"] if host["target"] == silent] == ["interrupted"]
    assert " no " in run("runs", "--db", tmp_path / "runs.sqlite", code=0).stdout


def test_a_second_interrupt_stops_at_once_without_a_traceback(silent):
    with subprocess.Popen(
        [*PROGRAM, "scan", *[silent.replace("127.0.0.1", f"127.0.0.{n}") for n in range(1, 3)], "--timeout", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        time.sleep(2.5)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
    assert child.returncode in {1, 3, 130, -signal.SIGINT}
    assert "Traceback" not in errors


# --- ranges -----------------------------------------------------------------------------------------------------

SWEEP = (*FAST, "--confirm", "none", "--rate", "0", "--per-net", "0", "--processes", "1")


@pytest.fixture(scope="module")
def servers():
    with farm() as running_farm:
        yield running_farm


@pytest.fixture(scope="module")
def hanging():
    """A server that takes connections and says nothing, for longer than the tests wait."""
    (peer,) = [peer for peer in PEERS if peer.name == "silence"]
    with running([peer], network="127.79") as states:
        yield f"{states['silence'].address}:{states['silence'].port}"


@contextmanager
def started(*arguments, **more):
    """Start the program; it does not outlive the block."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTRA_TLS", "COLUMNS"))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
    with subprocess.Popen([*PROGRAM, *map(str, arguments)], env=kept, text=True, **pipes) as child:
        try:
            yield child
        finally:
            child.kill()


def rest_of(child):
    """Return what else a child says. Not communicate(): it would pass over what readline() has read ahead."""
    rest, errors = child.stdout.read(), child.stderr.read()
    child.wait(30)
    return rest, errors


def test_hosts_come_as_lines_while_the_scan_goes_on(servers, hanging):
    options = (*SWEEP, "--timeout", "8", "--jsonl", "-")
    with started("scan", hanging, *servers.arguments(), *options) as child:
        early = [json.loads(child.stdout.readline()) for _ in servers.states]
        assert child.poll() is None  # the silent one has seconds left
        rest, errors = rest_of(child)
    late = [json.loads(line) for line in rest.splitlines()]
    assert child.returncode == 1, errors
    assert servers.wrong(early) == {}
    # The silent host is the last line, and standard output has nothing but lines.
    assert [host["name"] for host in late] == [hanging.rpartition(":")[0]]
    assert {verdict["state"] for verdict in late[0]["verdicts"]} == {"unknown"}
    for host in early:
        is_old = "TLS1.2" not in servers.enabled(host["name"])
        assert ("TLS 1.2 is not accepted" in [finding["title"] for finding in host["findings"]]) == is_old
        assert bool(host["findings"]) == is_old
    assert "13 hosts: 8 ready, 4 not ready, 1 unknown." in errors


def test_lines_in_a_file_are_the_hosts_of_the_report(servers, tmp_path):
    run("scan", *servers.arguments(), *SWEEP, "--jsonl", "hosts.jsonl", "--json", "r.json", cwd=tmp_path, code=1)
    hosts = [json.loads(line) for line in (tmp_path / "hosts.jsonl").read_text(encoding="utf-8").splitlines()]
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    findings = [finding for host in hosts for finding in host.pop("findings")]
    by_name = {host["name"]: host for host in hosts}
    assert len(by_name) == len(hosts) == 12
    assert by_name == {host["name"]: host for host in report["hosts"]}
    assert sorted(map(json.dumps, findings)) == sorted(map(json.dumps, report["findings"]))
    run("scan", "127.0.0.1:1", *SWEEP, "--jsonl", tmp_path / "missing" / "hosts.jsonl", code=2)


def test_progress_for_other_programs(servers, tmp_path):
    options = (*SWEEP, "--progress", "json", "--json", "r.json", "--quiet")
    done = run("scan", *servers.arguments(named=2), *options, cwd=tmp_path, code=1)
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    *events, last = map(json.loads, done.stderr.splitlines())
    assert done.stdout == ""
    assert events
    assert {event["event"] for event in events} <= {"progress", "note"}
    assert last["event"] == "finished"
    assert {event["run"] for event in (*events, last)} == {report["run"]["id"]}
    # 62 addresses of the /26, of which two are asked by name; 12 of all have a server.
    assert last["addresses"] == {"done": 60, "total": 60}
    assert last["hosts"] == {"done": 2, "total": 2}
    assert (last["listeners"], last["tls_endpoints"]) == (10, 12)
    enabled = [label for address in servers.states for label in servers.enabled(address)]
    assert last["versions"] == {label: enabled.count(label) for label in last["versions"]}
    assert last["connections"] == sum(last["endings"].values())
    assert last["endings"]["refused"] == 50
    assert last["rate"]["asked"] == 0


def test_progress_is_told_though_quiet_only_where_that_was_asked_for(modern):
    assert run("scan", modern, *FAST, "--quiet", "--progress", "none", code=0).stderr == ""
    assert run("scan", modern, *FAST, "--quiet", code=0).stderr == ""
    lines = run("scan", modern, *FAST, "--quiet", "--progress", "json", code=0).stderr.splitlines()
    assert json.loads(lines[-1])["event"] == "finished"


def test_public_addresses_are_refused_before_anything_else_happens(tmp_path):
    """With a scan that can't be begun: it would be a fault of the program's, with a code of its own."""
    child = (
        "import scanner.terminal, scanner.cli, socket, sys\n"
        "def fail(*_a, **_k): raise RuntimeError('contacted')\n"
        "scanner.terminal.run_scan = socket.socket = socket.create_connection = socket.getaddrinfo = fail\n"
        "scanner.cli.main()\n"
    )

    def refused(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", child, "scan", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        return done.returncode, flat(done.stderr)

    for more in ((), ("--db", "runs.sqlite", "--json", "r.json"), ("--quiet",), ("--shard", "1/8")):
        code, errors = refused("8.8.0.0-8.8.1.43", *more)
        assert code == 2
        assert "the ranges hold 300 public addresses" in errors
        assert "--i-am-authorised" in errors
    assert not list(tmp_path.iterdir())
    assert refused("8.8.0.0-8.8.1.43", "--i-am-authorised")[0] == EXIT_FAULT
    assert refused("8.8.0.0/24")[0] == EXIT_FAULT
    # The plan is only looked at.
    done = run("scan", "8.8.0.0-8.8.1.43", "--dry-run", code=0)
    assert "Nothing was contacted." in done.stdout


def test_what_an_exclude_file_names_is_not_contacted(servers, tmp_path):
    excluded = list(servers.states)[:5]
    (tmp_path / "never.txt").write_text(f"{excluded[0]}\n!{excluded[1]}\n{excluded[2]}-{excluded[4]}  # ours\n")
    before = servers.connection_counts
    arguments = (*servers.arguments(named=2), *SWEEP, "--exclude-file", "never.txt", "--json", "r.json")
    run("scan", *arguments, cwd=tmp_path, code=1)
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert {host["name"] for host in report["hosts"]} == set(servers.states) - set(excluded)
    after = servers.connection_counts
    assert {address for address in servers.states if after[address] == before[address]} == set(excluded)
    assert "62 targets" in run("scan", *servers.arguments(), "--dry-run", code=0).stdout
    done = run("scan", *servers.arguments(), "--dry-run", "--exclude-file", "never.txt", cwd=tmp_path, code=0)
    assert "57 targets" in done.stdout


@pytest.mark.parametrize("keep", ["all", "disputed", "none"])
def test_a_stored_sweep_is_the_same_report(servers, hanging, tmp_path, keep):
    arguments = (hanging, *servers.arguments(), *SWEEP, "--keep-bytes", keep, "--db", "runs.sqlite")
    run("scan", *arguments, "--json", "scan.json", "--csv", "scan.csv", "--quiet", cwd=tmp_path, code=1)
    run("report", "latest", "--db", "runs.sqlite", "--json", "again.json", "--csv", "again.csv", cwd=tmp_path, code=1)
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((tmp_path / "scan.json").read_text())
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scan.csv").read_bytes()
    row = next(line for line in run("runs", "--db", "runs.sqlite", cwd=tmp_path).stdout.splitlines() if "scan" in line)
    assert row.replace("│", " ").split()[-4:] == ["13", "yes", "entra-drs", "scan"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_sweep_that_was_ended_keeps_what_it_learned_and_is_gone_on_with(servers, tmp_path, number, processes):
    # 4,094 addresses: in two processes each takes a thousand at a time.
    options = (*FAST, "--confirm", "none", "--per-net", "0", "--processes", processes, "--db", "runs.sqlite")
    arguments = (*servers.arguments("127.78.0.0/20", named=2), *options)
    more = ("--rate", "400", "--jsonl", "-", "--json", "r.json", "--csv", "r.csv")
    with started("scan", *arguments, *more, cwd=tmp_path) as child:
        seen = [json.loads(child.stdout.readline())["name"] for _ in range(2)]
        if number is signal.SIGKILL:
            time.sleep(3)  # a killed run has lost what it learned in the last two seconds
        child.send_signal(number)
        rest, errors = rest_of(child)
    seen += [json.loads(line)["name"] for line in rest.splitlines()]
    assert "Traceback" not in errors
    if number is not signal.SIGKILL:
        assert child.returncode in {1, 3}, errors
        assert "Stopping: what was learned so far is kept." in errors
        assert "not complete" in errors
        report = json.loads((tmp_path / "r.json").read_text())
        jsonschema.Draft202012Validator(SCHEMA).validate(report)
        assert report["run"]["is_complete"] is False
        whole = [host for host in report["hosts"] if host["stopped"] is None]
        assert sorted(host["name"] for host in whole) == sorted(seen)
        assert servers.wrong(whole).keys() == servers.states.keys() - set(seen)
        has_findings = any(finding["severity"] != "info" for finding in report["findings"])
        assert child.returncode == (1 if has_findings else 3)
    assert " no " in run("runs", "--db", "runs.sqlite", cwd=tmp_path, code=0).stdout
    run("report", "latest", "--db", "runs.sqlite", "--json", "half.json", "--allow-unknown", cwd=tmp_path)
    half = json.loads((tmp_path / "half.json").read_text())
    done_before = half["summary"]["sweep"]["addresses"]["done"]
    assert 0 < done_before < 4092
    before = servers.connection_counts
    resume = ("scan", "--resume", "latest", "--db", "runs.sqlite")
    end = (*resume, "--rate", "0", "--json", "end.json", "--progress", "json", "--quiet")
    done = run(*end, cwd=tmp_path, code=1)
    report = json.loads((tmp_path / "end.json").read_text())
    assert report["run"]["id"] == half["run"]["id"]
    assert report["run"]["is_complete"] is True
    assert servers.wrong(report["hosts"]) == {}
    assert report["summary"]["no_listener"] == {"REFUSED": 4082}
    sweep = report["summary"]["sweep"]
    assert sweep["addresses"] == {"total": 4092, "done": 4092, "listening": 10}
    assert sweep["resumed"] is True
    assert sweep["seed"] == half["summary"]["sweep"]["seed"]
    # What was done was not done again.
    stored = [host["name"] for host in half["hosts"] if host["stopped"] is None]
    assert stored
    assert all(servers.connection_counts[name] == before[name] for name in stored)
    assert json.loads(done.stderr.splitlines()[-1])["addresses"]["done"] == 4092 - done_before
    # And now there is nothing left.
    assert "is complete: there is nothing to go on with" in flat(run(*resume, cwd=tmp_path, code=2).stderr)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--resume", "latest"), "give --db, and no targets"),
        (("--resume", "latest", "--db", "runs.sqlite", "a.example"), "give --db, and no targets"),
        (("--resume", "latest", "--db", "runs.sqlite"), "there is no such database"),
        (("127.0.0.8/30", "--shard", "3/2"), "--shard takes a part and how many there are"),
        (("127.0.0.8/30", "--processes", "none"), "--processes takes auto or a number"),
        (("127.0.0.8/30", "--passes", "0"), "--passes"),
        (("127.0.0.8/30", "--seed", "-1"), "--seed"),
        (("127.0.0.8/30", "--keep-bytes", "some"), "--keep-bytes"),
        (("127.0.0.8/30", "--progress", "xml"), "--progress"),
        (("127.0.0.8/30", "--exclude-file", "missing.txt"), "missing.txt"),
    ],
)
def test_options_of_ranges_that_can_not_be(tmp_path, more, words):
    done = run("scan", *more, cwd=tmp_path, code=2)
    assert words in flat(done.stderr)
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_two_processes_end_like_one(servers, tmp_path):
    summaries = []
    for processes in ("1", "2"):
        arguments = (*servers.arguments("127.78.0.0/20", named=2), *SWEEP, "--processes", processes, "--seed", "5")
        run("scan", *arguments, "--json", "r.json", "--quiet", cwd=tmp_path, code=1)
        report = json.loads((tmp_path / "r.json").read_text())
        assert servers.wrong(report["hosts"]) == {}
        summaries.append(report["summary"])
    assert summaries[0] == summaries[1]


def test_shards_are_merged_into_the_whole(servers, tmp_path):
    for number in (1, 2, 3):
        options = ("--shard", f"{number}/3", "--db", f"shard{number}.sqlite", "--quiet")
        run("scan", *servers.arguments(named=2), *SWEEP, *options, cwd=tmp_path)
    done = run("merge", "most.sqlite", "shard3.sqlite", "shard1.sqlite", cwd=tmp_path, code=0)
    assert "not complete. Shards missing: 2/3" in flat(done.stdout)
    run("merge", "all.sqlite", "shard3.sqlite", "shard1.sqlite", "shard2.sqlite", cwd=tmp_path, code=0)
    reports = []
    for name in ("most", "all"):
        run("report", "latest", "--db", f"{name}.sqlite", "--json", f"{name}.json", "--quiet", cwd=tmp_path, code=1)
        reports.append(json.loads((tmp_path / f"{name}.json").read_text()))
    most, whole = reports
    assert (most["run"]["is_complete"], whole["run"]["is_complete"]) == (False, True)
    assert servers.wrong(whole["hosts"]) == {}
    assert [host["name"] for host in whole["hosts"]] == list(servers.states)
    assert whole["summary"]["sweep"]["addresses"] == {"total": 60, "done": 60, "listening": 10}
    assert whole["summary"]["no_listener"] == {"REFUSED": 50}
    assert {host["name"] for host in most["hosts"]} < {host["name"] for host in whole["hosts"]}
    assert "is complete" in flat(
        run("scan", "--resume", "latest", "--db", "shard1.sqlite", cwd=tmp_path, code=2).stderr
    )


# --- help and documents -----------------------------------------------------------------------------------------


def test_alone_it_shows_help():
    done = run(COLUMNS="80")
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", done.stdout, re.MULTILINE)


def test_version():
    assert run("--version", code=0).stdout == f"entra-tls {__version__}\n"


def _options(command):
    return {name for parameter in COMMANDS[command].params for name in parameter.opts + parameter.secondary_opts} - {
        *(argument.name for argument in COMMANDS[command].params if isinstance(argument, click.Argument))
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented_and_every_documented_option_exists(command):
    section = re.search(rf"^## {command}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL).group(1)
    section = re.sub(r"^```.*?^```", "", section, flags=re.MULTILINE | re.DOTALL)
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`([^`]+)`", section))))
    documented -= {"-i"}
    options = {name for name in _options(command) if name.startswith("-")} - {"--help", "-h"}
    assert options <= documented
    assert documented <= options


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_fits_and_names_every_option(command):
    arguments = [command] if command else []
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    assert result.exit_code == 0
    for name in _options(command) if command else ("--version", *COMMANDS):
        assert name in result.output or not name.startswith("-")


def _examples():
    texts = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md")}
    texts["README.md"] = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name, text in texts.items():
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split(" #")[0].strip().removeprefix("$ ")
                if command.startswith("entra-tls "):
                    yield pytest.param(command, id=f"{name}: {command}")
    for name, command in COMMANDS.items():
        for line in re.findall(r"^\s*(entra-tls .*)$", command.epilog or "", re.MULTILINE):
            yield pytest.param(line, id=f"{name} --help: {line}")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Databases that examples speak of: eight shards of one scan, and a run that was interrupted."""
    folder = tmp_path_factory.mktemp("shelf")
    plan = plan_targets(parse_arguments(["127.0.0.8/30:9"]))

    async def scan(name, options):
        with open_store(folder / name) as store:
            (await scan_plan(plan, options, store=store)).close()

    for number in range(1, 9):
        asyncio.run(scan(f"shard{number}.sqlite", ScanOptions(shard=(number, 8))))
    with open_store(folder / "half.sqlite") as store:
        options = ScanOptions()
        run = replace(RUN, finished_at=None, is_complete=False)
        store.begin_run(run, plan=plan.encode(), options=options.encode(plan_digest=plan.digest))
    return folder


def _command_of(example):
    """Return the words of one command: without what a shell makes of the rest of the line."""
    words = shlex.split(re.split(r"\s(?:[12]?>>?|\||&&)", example)[0])[1:]
    if words[0] == "scan" and "--dry-run" not in words:
        words.append("--dry-run")
    if words[0] == "listen":  # on loopback, and not for long
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = [after if word != "--bind" else f"127.0.0.1:{port}" for word, after in pairwise(["", *words])]
        words += ["--for", "1"] if "--bind" in words else ["--bind", f"127.0.0.1:{port}", "--for", "1"]
    # The demo has a test of its own.
    return ["demo", "--help"] if words[0] == "demo" else words


SECRETS = (("--secret-file", "a secret of the tests\n"), ("--proxy-auth-file", "user:password\n"))


CONFIGURATIONS = {
    "nginx.conf": "events {}\nhttp { server { listen 443 ssl; ssl_protocols TLSv1.2; } }\n",
    "squid.conf": "http_port 3128\nhttps_port 3129 tls-cert=/c.pem tls-min-version=1.2 options=NO_SSLv3\n",
    "httpd.conf": "Listen 443\n<VirtualHost *:443>\n  SSLEngine on\n  SSLProtocol -all +TLSv1.2\n</VirtualHost>\n",
}


@pytest.mark.parametrize("example", list(_examples()))
def test_every_example_is_understood(example, tmp_path, kept, shelf):
    """Scans only as a plan; the rest for real."""
    words = _command_of(example)
    (tmp_path / "targets.example.txt").write_bytes((REPOSITORY / "targets.example.txt").read_bytes())
    for option, text in (("--file", "sts.example.com\n"), ("--exclude-file", "10.9.0.0/16\n"), *SECRETS):
        for name in [after for word, after in pairwise(words) if word == option]:
            if not (tmp_path / name).exists():
                (tmp_path / name).write_text(text)
    for name, text in CONFIGURATIONS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "httpd").mkdir()
    databases = [after for word, after in pairwise(words) if word == "--db"]
    source = shelf / "half.sqlite" if "--resume" in words else kept / "runs.sqlite"
    if words[0] == "merge":
        databases, source = words[2:], None
    for name in databases:
        (tmp_path / name).write_bytes((source or shelf / name).read_bytes())
    identity = RUN.id if "--resume" in words else json.loads((kept / "scan.json").read_text())["run"]["id"]
    words = [identity if re.fullmatch(r"RUN|\d{8}T\d{4,6}\S*", word) else word for word in words]
    if words[0] == "remediate":
        run("audit", "nginx.conf", "--host", "127.0.0.1", "--run", identity, "--db", databases[0], cwd=tmp_path)
    # Nothing came to the listener in that second.
    # Nor does a configuration say everything.
    code = None if words[0] == "audit" else {"report": 1, "listen": 3}.get(words[0], 0)
    assert run(*words, cwd=tmp_path, code=code).returncode in {0, 1, 3}


def _without_what_changes(text):
    """The demo's output without ports, the run's id and blanks."""
    return flat(re.sub(r"(?<=example):[\d,]+|run \w+-\w{4}|─+", "", text))


def test_the_demo_is_as_the_readme_shows_it(tmp_path):
    done = run("demo", "--json", "demo.json", cwd=tmp_path, code=0, COLUMNS="80")
    assert (tmp_path / "results" / "demo.html").is_file()
    report = json.loads((tmp_path / "demo.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    found = {
        host["name"].partition(".")[0]: "".join(verdict["state"][0] for verdict in host["verdicts"])
        for host in report["hosts"]
    }
    assert found == {
        "ready": "ddddee",
        "old": "ddeedd",
        "hole": "ddeded",
        "silent": "uuuuuu",
        "sts": "dddded",
        "tunnel": "uuuuuu" * 2,
        "inspect": "ddeeee" + "ddeedd",  # inbound, then outbound
    }
    assert {path["kind"] for host in report["hosts"] for path in host["paths"]} == {"tunnel", "re-encrypts"}
    assert report["summary"]["ready"] == 4
    checks = {check["id"]: check["state"] for host in report["hosts"] for check in host["checks"]}
    assert checks["adfs-federation-metadata"] == "yes"
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    sample = re.search(r"^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL).group(1)
    assert _without_what_changes(sample) in _without_what_changes(done.stdout)


# --- what a resumed run takes, and raw SYNs ---------------------------------------------------------------------


@pytest.mark.parametrize("option", [("--policy", "strict"), ("--confirm", "none"), ("--seed", "1"), ("--polite",)])
def test_what_belongs_to_a_run_can_not_be_changed_when_it_is_resumed(tmp_path, option):
    done = run("scan", "--resume", "latest", "--db", tmp_path / "runs.sqlite", *option, code=2)
    assert f"{option[0]} can't be given; nothing was scanned" in flat(done.stderr)


def test_lines_of_a_resumed_run_follow_the_first_ones(tmp_path):
    lines, db = tmp_path / "hosts.jsonl", tmp_path / "runs.sqlite"
    with farm() as servers:
        with open_store(db) as store:
            # A run of which nothing is done yet: as if killed at once.
            plan = plan_targets(parse_arguments(servers.arguments()))
            asyncio.run(_scan_and_stop(plan, store))
        lines.write_text('{"name": "from before"}\n')
        run("scan", "--resume", "latest", "--db", db, "--jsonl", lines, "--quiet")
    names = [json.loads(line)["name"] for line in lines.read_text().splitlines()]
    assert names[0] == "from before"
    assert sorted(names[1:]) == sorted(servers.states)


async def _scan_and_stop(plan, store):
    class Stopper:
        def on_begin(self, _run, scan):
            scan.interrupt()

        def on_note(self, text):
            pass

        def on_store_failure(self, error):
            raise error

    (await scan_plan(plan, ScanOptions(rate=0, processes=1), store=store, observer=Stopper())).close()


def test_raw_syns_without_the_capability_are_told_of_before_a_run_begins(tmp_path):
    db = tmp_path / "runs.sqlite"
    tmp_path.chmod(0o777)
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", *PROGRAM]
    done = subprocess.run(
        [*command, "scan", "127.78.0.1/32:9", "--syn", "--db", str(db)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "CAP_NET_RAW" in done.stderr
    assert "--cap-add=NET_RAW" in flat(done.stderr)
    with open_store(db) as store:
        assert store.list_runs() == ()


def test_raw_syns_need_epoll():
    done = run("scan", "127.78.0.1/32:9", "--syn", "--net", "asyncio", code=2)
    assert "--syn works with epoll only" in flat(done.stderr)

"""Between the command line and the use cases: what is checked first, how files are written, what the plan says."""

import asyncio
import os
from pathlib import Path

import pytest
import typer

from scanner import terminal
from scanner.deep import DeepScan
from scanner.entra import entra_endpoints
from scanner.model.subjects import Role, Target
from scanner.options import ScanOptions
from scanner.reports.source import source_of
from scanner.sweep.plan import TargetPlan, plan_targets
from scanner.sweep.space import Space
from scanner.targets import parse_arguments
from tests.reports.sample import build_result


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def _outputs(**paths):
    return terminal.Outputs(**{"html": None, "json": None, "csv": None, **paths})


# --- files ------------------------------------------------------------------------------------------------------


def test_checking_leaves_nothing_behind_and_changes_nothing(tmp_path):
    there = tmp_path / "there.json"
    there.write_text("old")
    _outputs(html=tmp_path / "new.html", json=there).check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.json"]
    assert there.read_text() == "old"


@pytest.mark.parametrize("path", ["missing/report.json", "."])
def test_what_cannot_be_written_ends_with_the_code_for_usage(tmp_path, path, capsys):
    with pytest.raises(typer.Exit) as caught:
        _outputs(json=tmp_path / path).check()
    assert caught.value.exit_code == 2
    assert "can't be written" in capsys.readouterr().err


def test_folders_are_made_where_asked(tmp_path):
    _outputs(html=tmp_path / "a" / "b" / "report.html").check(make_folders=True)
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(typer.Exit):
        _outputs(json=path).write(source_of(build_result(1)), quiet=True)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_one_file_that_cannot_be_written_costs_no_other(tmp_path, capsys):
    outputs = _outputs(html=tmp_path / "missing" / "report.html", json=tmp_path / "report.json")
    with pytest.raises(typer.Exit) as caught:
        outputs.write(source_of(build_result(1)), quiet=True)
    assert caught.value.exit_code == 2
    assert (tmp_path / "report.json").stat().st_size > 1000
    assert "report.html can't be written: No such file or directory" in capsys.readouterr().err


def test_written_files_have_the_mode_of_any_other(tmp_path):
    path = tmp_path / "report.csv"
    before = os.umask(0o027)
    try:
        _outputs(csv=path).write(source_of(build_result(1)), quiet=True)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_line_ends_of_csv_are_kept(tmp_path):
    path = tmp_path / "report.csv"
    _outputs(csv=path).write(source_of(build_result(1)), quiet=True)
    content = path.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == 7
    assert b"\r\r" not in content


def test_hostile_results_can_be_written_in_every_format(tmp_path):
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("html", "json", "csv")}
    _outputs(**paths).write(source_of(build_result(30, is_hostile=True)), quiet=True)
    for path in paths.values():
        path.read_bytes().decode("utf-8")


# --- the plan ---------------------------------------------------------------------------------------------------


def _target(host, **options):
    options = {"role": Role.SERVER, "ports": (443,), **options}
    return Target(text=host, host=host, **options)


def _plan(*targets):
    return TargetPlan(named=targets, space=Space(()))


def _planned(*arguments):
    return plan_targets(parse_arguments(arguments))


def test_the_plan_says_ports_names_and_labels(capsys):
    terminal.print_plan(
        _plan(
            _target("sts.example.com", role=Role.ADFS, optional_ports=(49443,), farm="sts", tags=("prod",)),
            _target("192.0.2.7", server_name="sts.example.com"),
            _target("192.0.2.8"),
        ),
        ScanOptions(rate=0),
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sts.example.com", "adfs", "443,", "(49443)", "the", "same", "sts,", "prod", "argument"] in lines
    assert ["192.0.2.7", "server", "443", "sts.example.com", "argument"] in lines
    assert ["192.0.2.8", "server", "443", "none", "argument"] in lines
    assert any("4 ports" in " ".join(line) and "no rate limit" in " ".join(line) for line in lines)


def test_a_range_is_one_row_and_two_ranges_are_two(capsys):
    terminal.print_plan(_planned("192.0.2.0/30", "192.0.2.9-10"), ScanOptions())
    out = capsys.readouterr().out
    assert "192.0.2.1 to 192.0.2.2" in out
    assert "192.0.2.9 to 192.0.2.10" in out
    assert out.count("(2 addresses)") == 2


def test_the_plan_of_a_large_range_counts_without_listing(capsys):
    options = ScanOptions(rate=2000, shard=(2, 8))
    terminal.print_plan(_planned("10.0.0.0/8:443,8443", "!10.0.0.0/9", "a.example"), options)
    out = capsys.readouterr().out
    # 2^23 addresses less the broadcast address.
    assert "10.128.0.0 to 10.255.255.254" in out
    assert "(8388607 addresses)" in out
    assert "8388608 targets, 16777215 ports" in out
    assert "shard 2 of 8" in out
    assert "at most 2000 connections a second" in out


def test_targets_of_one_line_that_are_no_range_are_a_row_each(capsys):
    names = ("enterpriseregistration.windows.net", "device.login.microsoftonline.com")
    terminal.print_plan(
        _plan(
            *(
                Target(text="@entra:global", host=name, role=Role.ENDPOINT, ports=(443,), locator="targets.txt:3")
                for name in names
            )
        ),
        ScanOptions(),
    )
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    assert "addresses)" not in out


def test_what_a_targets_file_holds_cannot_steer_the_terminal(capsys):
    terminal.print_plan(_plan(_target("h.example", tags=("\x1b[2J", "\u202eabc", "nul\0"))), ScanOptions())
    assert not set(capsys.readouterr().out) & set("\x1b\u202e\0")


def test_a_long_plan_is_cut_and_says_so(capsys):
    terminal.print_plan(_plan(*(_target(f"h{n}.example") for n in range(250))), ScanOptions())
    out = capsys.readouterr().out
    assert "(the first 200 of 250 rows)" in out
    assert "250 targets" in out


def test_what_the_user_wrote_is_shown_as_written_and_not_as_markup(capsys):
    terminal.print_plan(_plan(_target("h.example", farm="[red]farm[/red]", tags=("[bold]",))), ScanOptions())
    assert "[red]farm[/red], [bold]" in capsys.readouterr().out


# --- targets, servers, endpoints --------------------------------------------------------------------------------


def test_notes_about_targets_are_shown_and_do_not_end_the_run(capsys, tmp_path):
    file = tmp_path / "targets.txt"
    file.write_text("h.example\nh.example\n")
    plan = terminal.read_all_targets([], [file])
    assert {target.host for target in plan.named} == {"h.example"}
    assert "Traceback" not in capsys.readouterr().err


def test_bad_lines_of_all_sources_are_shown_together(capsys, tmp_path):
    file = tmp_path / "targets.txt"
    file.write_text("[nonsense]\n")
    with pytest.raises(typer.Exit) as caught:
        terminal.read_all_targets(["a b c"], [file])
    assert caught.value.exit_code == 2
    error = capsys.readouterr().err
    assert "targets.txt:1" in error
    assert "a b c" in error
    assert "2 bad target lines; nothing was scanned" in error


def test_one_bad_line_is_one(capsys):
    with pytest.raises(typer.Exit):
        terminal.read_all_targets(["a b c"], [])
    assert "1 bad target line; nothing was scanned" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_name_servers(text, server):
    assert terminal.parse_nameserver(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "dns.example",
        "192.0.2.1:x",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "[2001:db8::1",
        "[::1]x",
        "",
        "1.2.3.256",
    ],
)
def test_bad_name_servers(text):
    with pytest.raises(typer.Exit):
        terminal.parse_nameserver(text)


def test_endpoints_are_shown_whole_with_what_is_not_verified(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal.print_endpoints(entra_endpoints(None))
    lines = capsys.readouterr().out.splitlines()
    for entry in entra_endpoints(None):
        assert f"  {entry.name}" in lines
        for source in entry.sources:
            assert f"    source: {source.title}, {source.url}" in lines
    assert any("(listed only, not scanned)" in line for line in lines)


# --- ranges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        # 512 addresses of which network and broadcast address are left out.
        (("8.8.0.0/23",), "510"),
        (("8.8.0.0-8.8.1.0",), "257"),
        (("8.8.0.0/25", "8.8.4.0/24"), "380"),
        (("2001:4860::/119",), "512"),
        (("10.0.0.0/16", "8.8.0.0-8.8.1.0"), "257"),
    ],
)
def test_many_public_addresses_need_a_word(texts, count, capsys):
    plan = _planned(*texts)
    with pytest.raises(typer.Exit) as caught:
        terminal.check_authorised(plan, is_authorised=False)
    assert caught.value.exit_code == 2
    error = capsys.readouterr().err
    assert f"{count} public addresses" in error
    assert "--i-am-authorised" in error
    terminal.check_authorised(plan, is_authorised=True)


@pytest.mark.parametrize(
    "text",
    [
        "8.8.0.0-8.8.0.255",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "127.0.0.0/8",
        "2001:db8::/104",
        "fd00::/104",
        "100.64.0.0/10",
    ],
)
def test_few_public_addresses_and_any_number_of_private_ones_need_none(text):
    terminal.check_authorised(_planned(text), is_authorised=False)


def test_names_are_no_public_range():
    terminal.check_authorised(_plan(*(_target(f"h{n}.example") for n in range(1000))), is_authorised=False)


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8))])
def test_shards(text, shard):
    assert terminal.parse_shard(text) == shard


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/", "/8", "-1/8", "2/8/9", "a/b", "1/0", ""])
def test_bad_shards(text, capsys):
    with pytest.raises(typer.Exit) as caught:
        terminal.parse_shard(text)
    assert caught.value.exit_code == 2
    assert "--shard takes a part and how many there are" in capsys.readouterr().err


def test_processes():
    assert [terminal.parse_processes(text) for text in ("auto", "1", "2", "99")] == [0, 1, 2, 99]


@pytest.mark.parametrize("text", ["0", "-1", "100", "many", "", "1.5"])
def test_bad_processes(text):
    with pytest.raises(typer.Exit):
        terminal.parse_processes(text)


def test_seeds_are_random_unless_shards_have_to_agree():
    assert terminal.checked_seed(7, None) == terminal.checked_seed(7, "2/8") == 7
    assert terminal.checked_seed(None, "1/8") == terminal.checked_seed(None, "2/8")
    assert len({terminal.checked_seed(None, None) for _ in range(20)}) > 1


def test_exclude_files_hold_for_all_sources(tmp_path):
    targets, excludes = tmp_path / "targets.txt", tmp_path / "excludes.txt"
    targets.write_text("[ranges]\n192.0.2.0/24\n")
    excludes.write_text("192.0.2.128/25\n!a.example\n# a remark\n192.0.2.7\n")
    plan = terminal.read_all_targets(["a.example", "b.example", "192.0.2.200"], [targets], [excludes])
    assert [target.host for target in plan.named] == ["b.example"]
    # .1 to .127, but for .7
    assert plan.space.count == 126
    assert plan.exclusions.is_excluded("192.0.2.255")


def test_a_bad_exclude_file_ends_before_anything_is_scanned(tmp_path, capsys):
    excludes = tmp_path / "excludes.txt"
    excludes.write_text("192.0.2.0/99\n")
    with pytest.raises(typer.Exit) as caught:
        terminal.read_all_targets(["192.0.2.1"], [], [excludes])
    assert caught.value.exit_code == 2
    assert "excludes.txt:1" in capsys.readouterr().err


# --- sslyze's own scan ------------------------------------------------------------------------------------------


def test_the_deep_scan_takes_named_hosts_that_speak_tls(monkeypatch, tmp_path, capsys):
    asked = []

    async def run_deep_scans(endpoints, folder):
        await asyncio.sleep(0)
        asked.extend(endpoints)
        first = DeepScan(endpoint=endpoints[0], path=folder / "x.json", error=None)
        return [first, DeepScan(endpoint=endpoints[1], path=None, error="not done after 300 s")]

    monkeypatch.setattr(terminal, "run_deep_scans", run_deep_scans)
    result = build_result(20)
    terminal.run_sslyze(source_of(result), [host.target for host in result.hosts], tmp_path, quiet=False)
    silent = {host.target.host for host in result.hosts if all(v.state.value != "enabled" for v in host.verdicts)}
    assert silent
    assert asked
    assert not silent & {endpoint.host for endpoint in asked}
    errors = capsys.readouterr().err
    assert "x.json" in errors
    assert "not done after 300 s" in errors

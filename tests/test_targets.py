"""Expanding, merging and excluding; files; the documentation and the example against the program."""

from __future__ import annotations

import ipaddress
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.subjects import Role, is_address
from scanner.sweep.plan import plan_targets
from scanner.target_forms import NEVER_SCANNED
from scanner.target_lines import OPTIONS
from scanner.targets import (
    SECTIONS,
    ParsedTargets,
    TargetsError,
    merge_excludes,
    parse_arguments,
    parse_excludes,
    parse_targets,
    read_excludes,
    read_targets,
    render_targets,
)

ROOT = Path(__file__).parent.parent


def _planned(*parsed: ParsedTargets):
    """The named targets of a plan, then one for each address of its ranges."""
    plan = plan_targets(*parsed)
    return (*plan.named, *(plan.space.locate(index).target() for index in range(plan.space.count)))


def _expand(*texts: str):
    return _planned(*(parse_targets(text, source=f"{number}.txt") for number, text in enumerate(texts)))


def test_a_block_becomes_its_hosts():
    expected = [str(address) for address in ipaddress.ip_network("192.0.2.0/28").hosts()]
    assert [target.host for target in _expand("192.0.2.0/28")] == expected
    assert [target.host for target in _expand("192.0.2.0/31")] == ["192.0.2.0", "192.0.2.1"]
    assert len(_expand("2001:db8::/120")) == 256


def test_space_without_hosts_is_left_out_of_ranges():
    hosts = [target.host for target in _expand("223.255.255.254-224.0.0.9\n0.255.255.254-1.0.0.1\n192.0.0.7-9")]
    assert hosts == ["223.255.255.254", "223.255.255.255", "1.0.0.0", "1.0.0.1", "192.0.0.7", "192.0.0.9"]


def test_the_first_of_equal_targets_stays():
    targets = _expand("a.example tag=x", "A.example. tag=y\na.example:444\na.example sni=b.example")
    assert [(t.host, t.ports, t.sni, t.tags) for t in targets] == [
        ("a.example", (443,), "a.example", ("x",)),
        ("a.example", (444,), "a.example", ()),
        ("a.example", (443,), "b.example", ()),
    ]


def test_one_asked_for_by_itself_takes_the_place_of_one_from_a_range():
    targets = _expand("192.0.2.6-7", "192.0.2.7 tag=x", "192.0.2.7 tag=y", "192.0.2.7-8")
    assert [(t.host, t.is_from_range, t.tags) for t in targets] == [
        ("192.0.2.7", False, ("x",)),
        ("192.0.2.6", True, ()),
        ("192.0.2.8", True, ()),
    ]


def test_farm_nodes_get_the_name_of_their_farm_across_sources():
    targets = _expand(
        "[adfs]\n192.0.2.1 farm=f\n192.0.2.2 farm=f sni=own.example\n192.0.2.3\nnode.example farm=f\n"
        "192.0.2.4-5 farm=f",
        "[adfs]\nlate.example farm=f\n[servers]\n192.0.2.9 farm=g\nsrv.example farm=g",
        "[adfs]\n!node.example",
    )
    names = {target.host: target.server_name for target in targets if is_address(target.host)}
    # own.example is the first name that an [adfs] target of farm f has.
    assert names == {
        "192.0.2.1": "own.example",
        "192.0.2.2": "own.example",
        "192.0.2.3": None,
        "192.0.2.4": "own.example",
        "192.0.2.5": "own.example",
        "192.0.2.9": None,
    }


def test_a_named_farm_member_gives_its_own_name():
    targets = _expand("[adfs]\nsts.example farm=f\n192.0.2.1 farm=f")
    assert targets[1].sni == "sts.example"
    assert targets[1].optional_ports == (49443,)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("!a.example", ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        ("!A.example.", ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        ("!192.0.2.1", ["a.example", "2001:db8::1", "192.0.2.2"]),
        ("! 192.0.2.0/24  # all", ["a.example", "2001:db8::1"]),
        ("!192.0.2.2-9", ["a.example", "2001:db8::1", "192.0.2.1"]),
        ("!2001:0db8::1", ["a.example", "192.0.2.1", "192.0.2.2"]),
        ("!192.0.2.0/24:443", ["a.example", "2001:db8::1"]),
        ("!192.0.2.0/24:444", ["a.example", "2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        ("!https://a.example/", ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        ("!b.example", ["a.example", "2001:db8::1", "192.0.2.1", "192.0.2.2"]),
    ],
)
def test_excludes_hold_wherever_they_stand(exclude, left):
    text = "a.example\n192.0.2.1-2\n2001:db8::1"
    assert [t.host for t in _expand(f"{exclude}\n{text}")] == left
    assert [t.host for t in _expand(text, exclude)] == left
    assert [t.host for t in _planned(parse_targets(text, source="t"), parse_arguments([exclude]))] == left


def test_a_block_exclude_covers_its_network_and_broadcast_address():
    assert _expand("192.0.2.0\n192.0.2.7\n!192.0.2.0/29") == ()


def test_excluded_ports_go_and_the_rest_stays():
    (target,) = _expand("a.example:443,8443\n!a.example:8443")
    assert target.ports == (443,)
    (target,) = _expand("[adfs]\na.example\n!a.example:49443")
    assert (target.ports, target.optional_ports) == ((443,), ())
    (target,) = _expand("[adfs]\na.example\n!a.example:443")
    assert (target.ports, target.optional_ports) == ((49443,), ())


def test_excludes_can_be_asked_again_for_resolved_addresses():
    exclusions = merge_excludes(parse_targets("!192.0.2.0/28:443", source="a"), parse_arguments(["!192.0.2.99"]))
    assert exclusions.is_excluded("192.0.2.0", 443)
    assert not exclusions.is_excluded("192.0.2.0", 8443)
    assert exclusions.is_excluded("192.0.2.99", 8443)


def test_a_range_may_be_as_large_as_ipv4_and_no_larger_than_that_in_ipv6():
    begun = time.perf_counter()
    plan = plan_targets(parse_targets("0.0.0.0/0\n2001:db8::/96:8443", source="t"))
    # Counted by hand: 2**32 without 0/8, 224/4, 240/4 and 3 single addresses; all of the /96.
    assert plan.space.count == 2**32 - 2**24 - 2 * 2**28 - 3 + 2**32
    with pytest.raises(TargetsError) as caught:
        _expand("192.0.2.1", "\n2001:db8::/56\n2001:db8::/32:443")
    assert [(error.source, error.line) for error in caught.value.errors] == [("1.txt", 2), ("1.txt", 3)]
    assert time.perf_counter() - begun < 1


def test_ranges_with_ports_are_arguments_too():
    (item,) = parse_arguments(["10.20.0.0/16:443,8443,49443"]).targets
    assert (item.template.ports, item.last - item.first + 1) == ((443, 8443, 49443), 65_534)
    (item,) = parse_targets("[ranges]\n10.20.0.0/16:443,8443,49443", source="t").targets
    assert (item.template.ports, item.last - item.first + 1) == ((443, 8443, 49443), 65_534)


def test_the_errors_of_all_sources_come_together():
    with pytest.raises(TargetsError) as caught:
        _planned(
            parse_targets("a..b\nok.example", source="one"), parse_targets("\nx=1", source="two"), parse_arguments([""])
        )
    assert [(error.source, error.line) for error in caught.value.errors] == [("one", 1), ("two", 2), ("argument", 1)]
    assert str(caught.value).count("\n") == 2


_HOSTS = st.one_of(
    st.sampled_from(["a.example", "b.example", "_x.example", "bücher.example", "2001:db8::5", "2001:db8::4/126"]),
    st.integers(1, 30).map("192.0.2.{}".format),
    st.tuples(st.integers(1, 15), st.integers(16, 30)).map(lambda ends: f"192.0.2.{ends[0]}-{ends[1]}"),
    st.sampled_from(["192.0.2.0/28", "192.0.2.8/30", "192.0.2.16/31", "@entra:china"]),
)
_OPTIONS = st.lists(
    st.sampled_from(
        ["tag=a,b", 'tag="x y"', "farm=f", 'vendor="A \\"B\\" # \\\\ c"', "port=443,8443", "sni=s.example"]
    ),
    unique_by=lambda option: option.partition("=")[0],
    max_size=3,
).map(" ".join)
_LINES = st.one_of(
    st.sampled_from([f"[{section}]" for section in SECTIONS]),
    st.tuples(_HOSTS, _OPTIONS).map(" ".join).filter(lambda line: "@entra" not in line or " tag" in line[:20]),
    st.tuples(_HOSTS.filter(lambda host: "@" not in host), st.sampled_from(["", ":443", ":8443"]))
    .map(lambda pair: f"!{pair[0]}{pair[1]}")
    .filter(lambda line: line.count(":") in {0, 1}),
)


def _accepted(text: str) -> ParsedTargets:
    parsed = parse_targets(text, source="t.txt")
    if parsed.errors:  # an option that @entra refuses: leave those lines out, keep the rest
        bad = {error.line for error in parsed.errors}
        lines = text.split("\n")
        parsed = parse_targets("\n".join(line for n, line in enumerate(lines, 1) if n not in bad), source="t.txt")
    assert parsed.errors == ()
    return parsed


_TEXTS = st.lists(_LINES, max_size=12).map("\n".join)


@given(_TEXTS)
def test_planning_is_idempotent(text):
    parsed = _accepted(text)
    once = _planned(parsed)
    assert _planned(parsed, parsed) == once
    assert _planned(ParsedTargets(targets=once, excludes=parsed.excludes)) == once


@given(_TEXTS)
def test_no_excluded_address_or_port_survives(text):
    parsed = _accepted(text)
    for target in _planned(parsed):
        for exclude in parsed.excludes:
            if exclude.host is not None:
                is_hit = exclude.host == target.host
            else:
                is_hit = (
                    is_address(target.host)
                    and ipaddress.ip_address(target.host).version == exclude.version
                    and exclude.first <= int(ipaddress.ip_address(target.host)) <= exclude.last
                )
            if is_hit:
                assert exclude.ports is not None
                assert not set(exclude.ports) & {*target.ports, *target.optional_ports}


@given(_TEXTS)
def test_canonical_text_reads_back(text):
    targets = _planned(_accepted(text))
    again = _planned(parse_targets(render_targets(targets), source="t"))
    neutral = {"text": "", "locator": "", "cloud": None}
    assert [replace(t, **neutral) for t in again] == [replace(t, **neutral) for t in targets]


def test_a_file_is_read_in_the_encodings_windows_tools_write(tmp_path):
    path = tmp_path / "t.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("[adfs]\r\nbücher.example\r\n", encoding=encoding, newline="")
        (target,) = read_targets(path, source="t.txt").targets
        assert (target.host, target.role, target.locator) == ("xn--bcher-kva.example", Role.ADFS, "t.txt:2")


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    (error,) = read_targets(tmp_path / "none.txt", source="none.txt").errors
    assert str(error).startswith("none.txt: the file can't be read")
    (tmp_path / "latin.txt").write_bytes(b"a.example\nb\xfccher.example\n")
    (error,) = read_targets(tmp_path / "latin.txt", source="latin.txt").errors
    assert str(error).startswith("latin.txt:2: ")
    assert "UTF-8" in error.mend


def test_an_exclude_file_is_a_list_of_excludes():
    text = """# What we were asked to leave alone
    legacy.example.com
    192.0.2.7     # with a comment
    !192.0.2.8
    ! 192.0.2.9
    192.0.2.16/28
    192.0.2.40-49:8443
    [2001:db8::7]:8443,443
    2001:db8::/32
    https://portal.example.com/x?token=1
    0.0.0.0/8
    224.0.0.0-255.255.255.255
    """
    parsed = parse_excludes(text, source="x")
    assert parsed.errors == ()
    assert parsed.targets == ()
    marked = "\n".join(f"!{line.strip().removeprefix('!')}" for line in text.split("\n")[1:-1])
    assert parsed.excludes == parse_targets(marked, source="t").excludes
    assert len(parsed.excludes) == 11
    left = [target.host for target in _planned(parse_targets("192.0.2.6-9", source="t"), parsed)]
    assert left == ["192.0.2.6"]


def test_all_bad_lines_of_an_exclude_file_are_told():
    text = (
        "192.0.2.300\n[ranges]\n192.0.2.1 tag=x\n@entra:global\nu:pw@host\na.example b.example\n!!a.example\nok.example"
    )
    parsed = parse_excludes(text, source="x.txt")
    assert [error.line for error in parsed.errors] == [1, 2, 3, 4, 5, 6, 7]
    assert "no sections" in parsed.errors[1].problem
    assert "pw" not in str(parsed.errors[4])
    assert parsed.excludes == ()


def test_an_exclude_file_is_read_as_a_targets_file_is(tmp_path):
    (tmp_path / "x.txt").write_text("bücher.example\r\n", encoding="utf-16", newline="")
    (exclude,) = read_excludes(tmp_path / "x.txt").excludes
    assert exclude.host == "xn--bcher-kva.example"
    (error,) = read_excludes(tmp_path / "none.txt", source="none.txt").errors
    assert str(error) == "none.txt: the file can't be read (No such file or directory); name a readable exclude file"


def test_a_large_range_takes_little_time():
    begun = time.process_time()
    targets = _expand("[ranges]\n10.0.0.0/17 tag=x\n10.1.0.0/17\n!10.0.5.0/24\n!10.0.6.0/24:443")
    assert len(targets) == 65_532 - 512
    # 0.4 s on the machine this was written on; the bound only catches a change of order.
    assert time.process_time() - begun < 5


def test_every_section_and_option_is_documented():
    text = (ROOT / "docs/targets.md").read_text(encoding="utf-8")
    example = (ROOT / "targets.example.txt").read_text(encoding="utf-8")
    for section, defaults in SECTIONS.items():
        row = re.search(rf"^\| `\[{section}\]` \|[^|]*\| ([^|]*) \| ([^|]*) \|([^|]*)\|$", text, re.MULTILINE)
        assert row is not None, section
        ports = [tuple(int(port) for port in cell.split(",") if port.strip()) for cell in row.groups()[1:]]
        assert (row[1], *ports) == (defaults.role.value, defaults.ports, defaults.optional_ports)
        assert f"\n[{section}]\n" in example
    for option in OPTIONS:
        assert f"| `{option}=` |" in text
        assert f" {option}=" in example
    for cloud in ("global", "usgov", "china"):
        assert f"`@entra:{cloud}`" in text
        assert f"#@entra:{cloud}" in example


def test_every_block_of_target_lines_in_the_documentation_parses():
    blocks = [
        block
        for path in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md")
        for block in re.findall(r"^```targets\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]
    assert len(blocks) >= 3
    for block in blocks:
        parsed = parse_targets(block, source="docs")
        assert parsed.errors == ()
        assert parsed.warnings == ()


def test_the_exclude_file_in_the_documentation_is_one():
    text = (ROOT / "docs/targets.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```excludes\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    parsed = parse_excludes(block, source="docs")
    assert parsed.errors == ()
    assert len(parsed.excludes) == 4


def test_what_is_never_scanned_is_documented_whole():
    text = (ROOT / "docs/targets.md").read_text(encoding="utf-8")
    section = text.partition("## What is never scanned")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    documented = {ipaddress.ip_network(word.strip()) for cell in cells[2:] for word in cell.split(",")}
    assert documented == set(NEVER_SCANNED)


def test_every_example_of_a_target_form_in_the_documentation_parses():
    text = (ROOT / "docs/targets.md").read_text(encoding="utf-8")
    table = text.partition("| form | example |")[2].partition("\n\n")[0]
    examples = [
        word for row in table.splitlines()[2:] for word in re.findall(r"`([^`]+)`", row) if "[proxies]" not in word
    ]
    assert len(examples) >= 20
    assert parse_targets("[proxies]\n" + "\n".join(examples), source="docs").errors == ()


def test_the_example_file_is_valid_and_names_nothing_real():
    parsed = read_targets(ROOT / "targets.example.txt", source="targets.example.txt")
    assert parsed.errors == ()
    assert parsed.warnings == ()
    targets = _planned(parsed)
    assert {target.role for target in targets} == set(Role)
    # RFC 5737, RFC 3849; RFC 2606 (its "example" top-level domain in any script's label below it).
    networks = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    networks.append(ipaddress.ip_network("2001:db8::/32"))
    for target in targets:
        for name in {target.host, target.sni or target.host}:
            if is_address(name):
                assert any(ipaddress.ip_address(name) in network for network in networks)
            else:
                assert re.search(r"(^|\.)example(\.(com|net|org))?$", name), name
    nodes = {target.host: target.sni for target in targets if target.role is Role.ADFS}
    assert nodes["192.0.2.11"] == "sts.example.com"


def test_the_example_file_with_its_commented_lines_made_active_is_valid():
    text = (ROOT / "targets.example.txt").read_text(encoding="utf-8").replace("#@entra", "@entra")
    parsed = parse_targets(text, source="t")
    assert parsed.errors == ()
    assert {target.cloud for target in _planned(parsed)} == {None, "global", "usgov", "china"}


def test_a_role_takes_the_place_of_a_plain_server():
    parsed = parse_targets("[servers]\nsts.example.com tag=a\n[adfs]\nsts.example.com\n", source="t")
    (target,) = _planned(parsed)
    assert (target.role, target.optional_ports) == (Role.ADFS, (49443,))
    parsed = parse_targets("[adfs]\nsts.example.com\n[servers]\nsts.example.com\n", source="t")
    (target,) = _planned(parsed)
    assert target.role is Role.ADFS

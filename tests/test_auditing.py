"""Files to declarations: whose a file is, and every problem at once."""

from dataclasses import replace

import pytest

from scanner.auditing import Attaching, AuditError, AuditOptions, host_of, maybe_host, read_declarations, record_of
from scanner.importers.source import ReadError
from scanner.model.declared import ClueKind, HostClue
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Role, Target
from tests.declaring import GIVEN_AT, declare, make_leg, make_reading

NGINX = b"events {}\nhttp { server { listen 443 ssl; server_name sts.example; ssl_protocols TLSv1.2; } }\n"


def read_all(paths, options=None, **more):
    return read_declarations(paths, options or AuditOptions(), run="r", given_at=GIVEN_AT, tool_version="0.1.0", **more)


def reading_of(*clues):
    return make_reading(clues=tuple(HostClue(name=name, kind=kind) for name, kind in clues))


def whose(tmp_path, clues, known, name="nginx.conf"):
    return host_of(reading_of(*clues), tmp_path / name, known)


M, S = ClueKind.MACHINE, ClueKind.SERVED


@pytest.mark.parametrize(
    ("clues", "known", "name", "host"),
    [
        ([("web1", M)], [], "x.conf", "web1"),
        ([("web1", M)], ["web1.example", "web2.example"], "x.conf", "web1.example"),
        ([("web1.example", M)], ["web1", "web2"], "x.conf", "web1"),
        ([("web1", M), ("sts.example", S)], ["sts.example", "web1"], "x.conf", "web1"),
        ([("web1", M)], ["other.example"], "x.conf", "web1"),
        ([], ["web1.example", "web2.example"], "web1.example.conf", "web1.example"),
        ([], ["web1.example", "web1.example.org"], "web1.example.org-nginx.conf", "web1.example.org"),
        ([], ["192.0.2.1", "192.0.2.10"], "192.0.2.10_squid.conf", "192.0.2.10"),
        ([("sts.example", S), ("www.example", S)], ["sts.example", "proxy.example"], "x.conf", "sts.example"),
    ],
)
def test_a_file_is_tied_to_its_host(tmp_path, clues, known, name, host):
    assert whose(tmp_path, clues, known, name) == host


@pytest.mark.parametrize(
    ("clues", "known", "said"),
    [
        ([], [], "nothing in it says whose it is; --host does"),
        ([("sts.example", S)], [], r"it serves sts.example\)"),
        ([("sts.example", S)], ["proxy.example"], "nothing in it says whose it is"),
        ([("a.example", S), ("b.example", S)], ["a.example", "b.example"], "may be of a.example or b.example"),
        ([("web1", M)], ["web1.example", "web1.test"], "may be of web1.example or web1.test"),
    ],
)
def test_a_guess_is_refused(tmp_path, clues, known, said):
    with pytest.raises(ReadError, match=said):
        whose(tmp_path, clues, known)


@pytest.mark.parametrize(
    ("text", "host"),
    [("WEB1.Example.", "web1.example"), ("2001:DB8::1", "2001:db8::1"), ("192.0.2.1", "192.0.2.1"), ("a b", None)],
)
def test_host_names_are_those_of_targets(text, host):
    assert maybe_host(text) == host


def test_a_file_is_read_with_its_includes_and_remembered(tmp_path):
    path = tmp_path / "nginx.conf"
    path.write_bytes(b"events {}\nhttp { include sites/*.conf; }\n")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.conf").write_bytes(b"server { listen 443 ssl; ssl_protocols TLSv1.2; }\n")
    seen = []
    (found,) = read_all([path], AuditOptions(host="h.example"), on_file=seen.append)
    assert (found.host, found.run, found.given_at, found.path) == ("h.example", "r", GIVEN_AT, str(path))
    assert [name for name, _ in found.reading.includes] == ["sites/a.conf"]
    assert (len(found.reading.legs), seen) == (1, ["nginx.conf"])


def test_all_problems_are_told_at_once_and_nothing_is_read_in_part(tmp_path):
    (tmp_path / "good.conf").write_bytes(NGINX)
    (tmp_path / "letter").write_bytes(b"Dear Sir\n")
    paths = [tmp_path / "good.conf", tmp_path / "letter", tmp_path / "none.conf"]
    with pytest.raises(AuditError) as caught:
        read_all(paths)
    good, letter, none = caught.value.problems
    assert good.startswith("good.conf: nothing in it says whose it is")
    assert letter.startswith("letter is no file that is known")
    assert none == "none.conf: No such file or directory"


def test_hosts_get_their_declarations_and_the_others_come_last():
    mine, other, third = declare(make_leg("ddddee")), declare(host="b.example"), declare(host="c.example")
    attaching = Attaching([mine, other, third])
    target = Target(text="h.example", host="h.example", role=Role.SERVER, ports=(443,))
    record = HostRecord(target=target, resolution=Resolution(), endpoints=(), exchanges=())
    assert attaching.attach(4, record).declarations == (mine,)
    bare = replace(record, target=replace(target, host="d.example"))
    assert attaching.attach(9, bare) is bare
    rest = attaching.rest()
    assert [(position, each.target.host) for position, each in rest] == [(10, "b.example"), (11, "c.example")]
    assert (attaching.has("b.example"), attaching.has("d.example")) == (True, False)


def test_a_host_that_files_alone_know_has_their_product():
    assert record_of("b.example", [declare(host="b.example")]).target.vendor == "nginx"
    two = [declare(), replace(declare(), reading=replace(make_reading(), product="Squid"))]
    assert record_of("b.example", two).target.vendor is None

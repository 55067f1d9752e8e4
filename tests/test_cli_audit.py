"""``entra-tls audit`` as users call it."""

import json

import pytest

from tests.test_cli_outbound import call

pytestmark = pytest.mark.timeout(120)

GOOD = "events {}\nhttp { server { listen 443 ssl; ssl_protocols TLSv1.2 TLSv1.3; } }\n"
OLD = "events {}\nhttp {\n  server {\n    listen 443 ssl;\n    ssl_protocols TLSv1.1;\n  }\n}\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "good.conf").write_text(GOOD)
    (tmp_path / "old.conf").write_text(OLD)
    (tmp_path / "letter").write_text("Dear Sir or Madam\n")
    return tmp_path


def test_a_file_that_has_tls_1_2_and_nothing_older_exits_0(files):
    done = call("audit", files / "good.conf", "--host", "h.example")
    assert (done.exit_code, "1 host: 1 ready" in done.stdout) == (0, True)


def test_a_file_without_tls_1_2_exits_1_with_file_and_line(files):
    done = call("audit", files / "old.conf", "--host", "h.example", "--json", files / "report.json")
    assert (done.exit_code, "TLS 1.2 is not accepted" in done.stdout) == (1, True)
    (host,) = json.loads((files / "report.json").read_text())["hosts"]
    (file,) = host["declared"]
    (leg,) = file["legs"]
    setting = next(each for each in leg["settings"] if each["version"] == "TLS1.2")
    assert (setting["state"], setting["basis"]) == ("disabled", "declared")
    assert setting["place"] == {"file": "old.conf", "line": 5, "key": ""}


def test_all_files_that_can_not_be_used_are_named_and_exit_2(files):
    done = call("audit", files / "good.conf", files / "letter", files / "none")
    assert done.exit_code == 2
    for words in ("good.conf: nothing in it says whose it is", "letter is no file that is known", "none: No such file"):
        assert words in done.output
    assert "3 files can't be used; nothing was audited" in done.output


def test_a_stored_audit_is_reported_again_and_listed(files):
    db = files / "runs.sqlite"
    first = call("audit", files / "old.conf", "--host", "h.example", "--db", db, "--json", files / "1.json")
    again = call("report", "latest", "--db", db, "--json", files / "2.json")
    assert (first.exit_code, again.exit_code) == (1, 1)
    one, two = (json.loads((files / f"{n}.json").read_text()) for n in "12")
    assert one == two
    assert "audit" in call("runs", "--db", db).stdout
    resumed = call("scan", "--resume", "latest", "--db", db)
    assert (resumed.exit_code, "made of files" in resumed.output) == (2, True)


def test_a_second_file_is_added_to_the_run(files):
    db = files / "runs.sqlite"
    call("audit", files / "good.conf", "--host", "a.example", "--db", db)
    done = call("audit", files / "old.conf", "--host", "b.example", "--run", "latest", "--db", db)
    assert (done.exit_code, "2 hosts: 1 ready, 1 not ready" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "latest"), "--run is looked for in a database: give --db"),
        (("--host", "a b"), "--host takes a name or an address"),
        (("--as", "word"), "there is no kind of file 'word'"),
        (("--folder", "/nowhere"), "there is no such folder"),
        (("--policy", "none"), "there is no policy 'none'"),
        (("--run", "latest", "--db", "/nowhere/runs.sqlite"), "/nowhere/runs.sqlite"),
    ],
)
def test_wrong_options_exit_2_with_one_line(files, arguments, said):
    done = call("audit", files / "good.conf", *({} if "--host" in arguments else ("--host", "h.example")), *arguments)
    assert (done.exit_code, said in done.output) == (2, True)


def test_remediate_writes_a_diff_and_steps(files):
    db, out = files / "runs.sqlite", files / "out"
    call("audit", files / "old.conf", "--host", "h.example", "--db", db)
    done = call("remediate", "latest", "--db", db, "--out", out, "--disable-old")
    assert (done.exit_code, "wrote" in done.output) == (0, True)
    assert (
        "-    ssl_protocols TLSv1.1;\n+    ssl_protocols TLSv1.2" in (out / "h.example" / "old.conf.diff").read_text()
    )
    assert "nginx -t" in (out / "h.example" / "STEPS.md").read_text()


def test_remediate_says_what_it_can_not_do(files):
    db, out = files / "runs.sqlite", files / "out"
    call("audit", files / "old.conf", "--host", "h.example", "--db", db)
    (files / "old.conf").write_text(GOOD)
    changed = call("remediate", "latest", "--db", db, "--out", out)
    assert (changed.exit_code, "has changed since it was audited" in changed.output) == (3, True)
    other = call("remediate", "latest", "--db", db, "--out", out, "--host", "other.example")
    assert (other.exit_code, "no file was audited in this run for other.example" in other.output) == (2, True)
    none = call("remediate", "latest", "--db", files / "none.sqlite", "--out", out)
    assert (none.exit_code, out.exists()) == (2, False)

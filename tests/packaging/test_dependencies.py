"""Lock files and docs/dependencies.md agree with pyproject.toml."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
DOCUMENT = (REPOSITORY / "docs" / "dependencies.md").read_text()
RUN = PROJECT["project"]["dependencies"]
BUILD = PROJECT["dependency-groups"]["build"]
DEV = PROJECT["dependency-groups"]["dev"]
LOCKS = {
    "requirements.lock": RUN,
    "requirements-build.lock": BUILD + PROJECT["build-system"]["requires"],
    "requirements-dev.lock": RUN + BUILD + DEV,
}
SECTIONS = {"To run": RUN, "To test and check": DEV, "To build and install": BUILD}


def _pins(lock):
    """Map each package of a lock file to (requirement, hashes)."""
    pins = {}
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", (REPOSITORY / lock).read_text()):
        code = " ".join(line.rstrip("\\ ") for line in entry.splitlines() if not line.lstrip().startswith("#"))
        if code.strip():
            requirement, *hashes = code.split("--hash=")
            pins[canonicalize_name(Requirement(requirement).name)] = (Requirement(requirement), hashes)
    return pins


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_exactly_and_hashed(lock):
    pins = _pins(lock)
    assert pins
    for requirement, hashes in pins.values():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_pyproject_asks_for(lock):
    pins = _pins(lock)
    for wanted in map(Requirement, LOCKS[lock]):
        pinned = next(iter(pins[canonicalize_name(wanted.name)][0].specifier)).version
        assert wanted.specifier.contains(pinned), f"{lock}: {wanted.name} {pinned} is outside {wanted.specifier}"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_place_on_a_machine(lock):
    text = (REPOSITORY / lock).read_text()
    assert "://" not in text
    assert not re.search(r"(?:^|\s)(?:/|~|[A-Z]:\\|--(?:index|extra|find|trusted))", text, re.MULTILINE)


def test_the_locks_agree_with_each_other():
    everything = _pins("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-build.lock"):
        for name, (requirement, _hashes) in _pins(lock).items():
            assert everything[name][0].specifier == requirement.specifier, f"{lock}: {name}"


def test_the_runtime_lock_is_closed_over_what_is_installed():
    """What the locked packages themselves declare is in the lock too, so that --require-hashes can not fail."""
    pins = _pins("requirements.lock")
    for name, (pinned, _hashes) in pins.items():
        if pinned.marker is not None and not pinned.marker.evaluate():
            continue
        for text in distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({**default_environment(), "extra": ""}):
                assert canonicalize_name(needed.name) in pins, f"{name} needs {needed}"


def _rows(section):
    """Map package to range in the table under a heading."""
    body = DOCUMENT.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return {row[0]: row for row in rows[2:]}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_dependency_is_documented_with_its_range_licence_and_reason(section):
    rows = _rows(section)
    wanted = {Requirement(each).name: each for each in SECTIONS[section]}
    assert sorted(rows) == sorted(wanted)
    for name, row in rows.items():
        assert row[1] == f"`{wanted[name].removeprefix(name)}`", name
        assert row[2], name
        assert row[3], name

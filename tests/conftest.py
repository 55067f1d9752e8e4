"""Fixtures for every test, and the loud list of what a machine could not test."""

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

_SUMMARY = pytest.StashKey[list[str]]()


def pytest_configure(config):
    config.stash[_SUMMARY] = []


def pytest_terminal_summary(terminalreporter, config):
    """Print what was measured and, never quietly, what was left out."""
    from tests import lab  # noqa: PLC0415 - unit tests do not pay for it
    from tests.lab import requirements  # noqa: PLC0415 - the same

    for line in config.stash[_SUMMARY]:
        terminalreporter.write_line(line)
    if absent := requirements.missing():
        terminalreporter.section("LEFT OUT: not installed (see tests/lab/install.sh)", sep="!", red=True, bold=True)
        for each in absent:
            terminalreporter.write_line(f"{each.name} ({each.source})", red=True)
        if names := [factory.name for factory in lab.absent_factories()]:
            terminalreporter.write_line(f"{len(names)} lab servers not started: {', '.join(names)}", red=True)


@pytest.fixture(scope="session")
def record_for_summary(request):
    """Return a function that adds a line to the end of the run's output."""
    return request.config.stash[_SUMMARY].append


@pytest.fixture
def results_are_closed(monkeypatch):
    """Give back the files of all results of scans that a test makes."""
    from scanner import app  # noqa: PLC0415 - unit tests do not pay for it

    made = []

    class Kept(app.Results):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            made.append(self)

    monkeypatch.setattr(app, "Results", Kept)
    yield
    for results in made:
        results.close()


@pytest.fixture(scope="session")
def lab_certificates(tmp_path_factory):
    """The lab's CA and certificates."""
    from tests.lab.certs import make_certificates  # noqa: PLC0415 - unit tests do not pay for it

    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory, lab_certificates):
    """Every server of the lab that this machine can start, running: ``list[LabServer]``."""
    from tests import lab  # noqa: PLC0415 - unit tests do not pay for it
    from tests.lab import model, requirements  # noqa: PLC0415 - the same

    if requirements.must_be_complete() and (absent := requirements.missing()):
        pytest.fail("CI=true, and not installed: " + ", ".join(f"{each.name} ({each.source})" for each in absent))
    home = tmp_path_factory.mktemp("lab")
    # Servers that leave root behind must be able to read below it.
    for path in (home, *home.parents[: 3 if "popen-gw" in str(home) else 2]):
        path.chmod(0o755)
    with model.start_lab(lab.present_factories(), home, lab_certificates) as servers:
        yield servers

"""The browser, started once; where there is none its tests are left out loudly, and with CI=true they fail."""

import os

import pytest

from scanner.reports.html import render_html
from tests.reports import browser as headless
from tests.reports import sample

_LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    if os.environ.get("CI", "").lower() == "true" or not headless.absent():
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.section("LEFT OUT: the browser", sep="!", red=True, bold=True)
        reasons = ", ".join(headless.absent())
        terminalreporter.write_line(f"{count} browser tests did not run: {reasons}", red=True)


@pytest.fixture(scope="session")
def browser():
    """A WebDriver for headless Chromium."""
    if reasons := headless.absent():
        pytest.fail("CI=true, and there is no browser: " + ", ".join(reasons))
    with headless.open_browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def write_report(tmp_path_factory):
    """Return a function from build_result's arguments to a report file, written once for the same arguments."""
    folder = tmp_path_factory.mktemp("reports")

    def write(count, **arguments):
        name = "-".join([str(count), *(f"{key}={value}" for key, value in arguments.items())])
        path = folder / f"{name}.html"
        if not path.exists():
            path.write_text(render_html(sample.build_result(count, **arguments)), encoding="utf-8")
        return path

    return write

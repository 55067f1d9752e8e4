"""The browser, started once; where there is none its tests are left out loudly, and with CI=true they fail."""

import pytest

from scanner.reports.html import render_html
from scanner.reports.source import source_of
from tests.left_out import LeftOut
from tests.reports import browser as headless
from tests.reports import outbound_sample, sample

_BROWSER = LeftOut("browser", "the browser", headless.absent)


def pytest_collection_modifyitems(config, items):
    _BROWSER.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _BROWSER.tell(terminalreporter)


@pytest.fixture(scope="session")
def browser():
    """A WebDriver for headless Chromium."""
    _BROWSER.demand()
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
            source = source_of(sample.build_result(count, **arguments))
            path.write_text("".join(render_html(source)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def write_outbound_report(tmp_path_factory):
    """Return a function from build_outbound_result's arguments to a report file, written once for the same."""
    folder = tmp_path_factory.mktemp("outbound")

    def write(ordinary=3, **arguments):
        name = "-".join([str(ordinary), *(f"{key}={value}" for key, value in arguments.items())])
        path = folder / f"{name}.html"
        if not path.exists():
            source = source_of(outbound_sample.build_outbound_result(ordinary, **arguments))
            path.write_text("".join(render_html(source)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def write_range_report(tmp_path_factory):
    """Return a function from RangeSource's arguments to a report file, written once for the same arguments."""
    folder = tmp_path_factory.mktemp("ranges")

    def write(count, **arguments):
        name = "-".join([str(count), *(f"{key}={value}" for key, value in arguments.items())]).replace("/", "of")
        path = folder / f"{name}.html"
        if not path.exists():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(render_html(sample.RangeSource(count, **arguments)))
        return path

    return write

"""The container image, built once; where it can't be, its tests are left out loudly, and with CI=true they fail."""

import os

import pytest

from tests.packaging import image as container_image

_LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    if os.environ.get("CI", "").lower() == "true" or not container_image.absent():
        return
    left_out = [item for item in items if item.get_closest_marker("container")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.section("LEFT OUT: the container image", sep="!", red=True, bold=True)
        reasons = ", ".join(container_image.absent())
        terminalreporter.write_line(f"{count} container tests did not run: {reasons}", red=True)


@pytest.fixture(scope="session")
def image():
    """The image, built on a fresh Debian base, with a container made from it."""
    if reasons := container_image.absent():
        pytest.fail("CI=true, and the container image can't be built: " + ", ".join(reasons))
    with container_image.built_image() as built:
        yield built

"""The container image, built once; where it can't be, its tests are left out loudly, and with CI=true they fail."""

import pytest

from tests.left_out import LeftOut
from tests.packaging import image as container_image

_IMAGE = LeftOut("container", "the container image", container_image.absent)


def pytest_collection_modifyitems(config, items):
    _IMAGE.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _IMAGE.tell(terminalreporter)


@pytest.fixture(scope="session")
def image():
    """The image, built on a fresh Debian base, with a container made from it."""
    _IMAGE.demand()
    with container_image.built_image() as built:
        yield built

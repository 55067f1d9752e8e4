import pytest

from scanner.importers.windows_defaults import Default, maybe_release
from scanner.model.versions import TlsVersion


def test_server_2019_has_tls_1_2_on_and_no_tls_1_3():
    release = maybe_release("10.0.17763", None)
    assert release.default(TlsVersion.TLS1_2, is_client=True) is Default.ON
    assert release.default(TlsVersion.TLS1_3, is_client=True) is Default.NONE


@pytest.mark.parametrize("build", ["10.0.15063", "10.0.16299", "10.0.19045", "10.0.25398", "10.0.26100", "x"])
def test_builds_without_a_row_have_none(build):
    assert maybe_release(build, None) is None

"""Expected values: common.proto of data-plane-api 84e8436."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import envoy
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.evidence import GapReason, State
from scanner.model.versions import ALL_VERSIONS


def bootstrap(part, kind, params):
    url = f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"
    context = f'{{"@type": {url}, common_tls_context: {{tls_params: {{{params}}}, key: HUNTER2}}}}'
    return f"static_resources:\n  {part}:\n  - transport_socket: {{typed_config: {context}}}\n".encode()


def read(data, version="1.30"):
    return envoy.read(SourceFile(name="e.yaml", data=data), EMPTY_FOLDER, ReadOptions(product_version=version))


@pytest.mark.parametrize(
    ("part", "kind", "params", "on"),
    [
        ("listeners", "DownstreamTlsContext", "", [4, 5]),
        ("clusters", "UpstreamTlsContext", "", [4]),
        ("clusters", "UpstreamTlsContext", "tls_maximum_protocol_version: TLSv1_3", [4, 5]),
        ("listeners", "DownstreamTlsContext", "tls_minimum_protocol_version: TLSv1_3", [5]),
    ],
)
def test_the_range_is_that_of_tls_params_and_the_documented_defaults(part, kind, params, on):
    reading = read(bootstrap(part, kind, params))
    enabled = [ALL_VERSIONS.index(s.version) for s in reading.legs[0].settings if s.state is State.ENABLED]
    assert enabled == on
    assert "HUNTER2" not in repr(reading)


def test_without_a_version_old_versions_are_a_gap():
    leg = read(bootstrap("listeners", "DownstreamTlsContext", ""), None).legs[0]
    assert [s.gap for s in leg.settings][2:4] == [GapReason.VERSION_UNKNOWN] * 2


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_read_error(data):
    assert envoy.recognise(SourceFile(name="x", data=data)) in {0, 80}
    try:
        read(data)
    except ReadError:
        return

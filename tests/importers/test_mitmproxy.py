"""Expected values: tlsconfig.py of mitmproxy 8.1.1 and 8fc25b3, and what 8.1.1 did in tests/proxies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import mitmproxy
from scanner.importers.edits import Wants, apply_edits
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
SAMPLE = "# mine\nproxyauth: joe:HUNTER2\ntls_version_client_min: TLS1\ntls_version_client_max: 'TLS1_1'\n"
NEW = ReadOptions(product_version="10.2")


def source(text):
    return SourceFile(name="config.yaml", data=text if isinstance(text, bytes) else text.encode())


def legs(text, version="10.2"):
    reading = mitmproxy.read(source(text), EMPTY_FOLDER, ReadOptions(product_version=version))
    return [{s.version: s.gap or s.state for s in leg.settings} for leg in reading.legs]


def test_defaults_are_tls_1_2_and_later_on_both_sides():
    for leg in legs("ssl_insecure: true\n"):
        assert [v for v in ALL_VERSIONS if leg[v] is State.ENABLED] == [TLS1_2, TLS1_3]
        assert [v for v in ALL_VERSIONS if leg[v] is State.DISABLED] == [SSL2, SSL3, TLS1_0, TLS1_1]


def test_without_a_version_the_default_is_a_gap():
    assert {gap for leg in legs("ssl_insecure: true\n", None) for gap in leg.values()} == {GapReason.VERSION_UNKNOWN}


def test_mitmproxy_8_uses_the_clients_range_on_the_servers_side():
    text = "tls_version_client_min: TLS1\ntls_version_client_max: TLS1_2\ntls_version_server_min: TLS1_3\n"
    client, server = legs(text, "8.1.1")
    assert client == server
    assert (server[TLS1_0], server[TLS1_2]) == (GapReason.LIBRARY_POLICY, State.ENABLED)
    assert server[TLS1_3] is State.DISABLED
    assert legs(text, "10.2")[1][TLS1_2] is State.DISABLED
    assert set(legs(text, None)[1].values()) == {GapReason.VERSION_UNKNOWN}


def test_what_is_written_is_declared_with_its_line():
    (leg, _) = mitmproxy.read(source(SAMPLE), EMPTY_FOLDER, NEW).legs
    assert (leg.settings[4].state, leg.settings[4].basis, leg.settings[4].place.line) == (
        State.DISABLED,
        Basis.DECLARED,
        4,
    )


def test_an_unknown_value_is_a_gap():
    assert set(legs("tls_version_client_min: HUNTER2\n")[0].values()) == {GapReason.UNSUPPORTED}


@pytest.mark.parametrize("text", ["a: b\n", "- mode\n", "x", ""])
def test_what_is_not_mitmproxys_is_refused(text):
    with pytest.raises(ReadError):
        legs(text)
    assert mitmproxy.recognise(source(text)) < 20


def test_config_yaml_is_recognised():
    assert mitmproxy.recognise(source(SAMPLE)) >= 50


def test_no_secret_is_in_a_reading():
    reading = mitmproxy.read(source(SAMPLE + "tls_version_server_min: HUNTER2\n"), EMPTY_FOLDER, NEW)
    assert "HUNTER2" not in repr(reading)


WORDS = st.sampled_from(["UNBOUNDED", "SSL3", "TLS1", '"TLS1_1"', "TLS1_2", "'TLS1_3'", "odd"])


@given(st.dictionaries(st.sampled_from(mitmproxy._OURS), WORDS), st.sampled_from(["8.1", "10.2"]), st.booleans())
def test_after_the_edits_tls_1_2_is_on_and_old_versions_off_where_wanted(settings, version, is_off):
    text = "# c\nmode: regular\n" + "".join(f"{key}: {word} # x\n" for key, word in settings.items())
    options = ReadOptions(product_version=version)
    remedies = mitmproxy.plan_edits(source(text), EMPTY_FOLDER, options, wants=Wants(disable_old=is_off))
    for leg in legs(apply_edits(text, [edit for remedy in remedies for edit in remedy.edits]), version):
        assert leg[TLS1_2] is State.ENABLED
        assert not is_off or all(leg[v] is State.DISABLED for v in (SSL2, SSL3, TLS1_0, TLS1_1))


@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_raises_nothing_but_read_error(garbage):
    data = SAMPLE.encode()
    data = garbage if isinstance(garbage, bytes) else data[: garbage[0]] + garbage[1] + data[garbage[0] + 4 :]
    assert 0 <= mitmproxy.recognise(source(data)) <= 100
    try:
        mitmproxy.read(source(data), EMPTY_FOLDER, NEW)
        mitmproxy.plan_edits(source(data), EMPTY_FOLDER, NEW, wants=Wants())
    except ReadError:
        return

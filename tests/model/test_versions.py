"""Protocol versions: numbers of the wire, order, names."""

import pytest

from scanner.model.versions import ALL_VERSIONS, TlsVersion


def test_numbers_are_those_of_the_wire():
    """RFC 6101 (3.0), RFC 2246, 4346, 5246 and 8446 section 4.1.2; 0x0002 is SSLv2's own."""
    assert [version.value for version in ALL_VERSIONS] == [0x0002, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304]


def test_they_are_ordered_by_age():
    assert list(ALL_VERSIONS) == sorted(ALL_VERSIONS)
    assert TlsVersion.SSL2 < TlsVersion.SSL3 < TlsVersion.TLS1_0 < TlsVersion.TLS1_2 < TlsVersion.TLS1_3


def test_labels_are_those_of_the_report():
    assert [version.label for version in ALL_VERSIONS] == ["SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]


def test_titles_are_for_people():
    assert [version.title for version in ALL_VERSIONS] == [
        "SSL 2.0",
        "SSL 3.0",
        "TLS 1.0",
        "TLS 1.1",
        "TLS 1.2",
        "TLS 1.3",
    ]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_label_leads_back(version):
    assert TlsVersion.from_label(version.label) is version


@pytest.mark.parametrize("label", ["TLS 1.2", "tls1.2", "TLSv1.2", "", "TLS1.4"])
def test_other_labels_are_refused(label):
    with pytest.raises(KeyError):
        TlsVersion.from_label(label)

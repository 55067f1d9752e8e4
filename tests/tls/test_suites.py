"""Suite numbers against tables that others wrote: sslyze, tlslite-ng, and what four tools listed (fixtures)."""

from pathlib import Path

import pytest

from scanner.tls import suites
from tests.tls.independent import CipherSuite

FALLBACK_SCSV = 0x5600
NULL_WITH_NULL_NULL = 0x0000
MOST_SUITES = 150
"""wolfSSL's WOLFSSL_MAX_SUITE_SZ of 300 bytes (tls-behaviour)."""
LISTED = {
    line.split()[1]: {int(number, 16) for number in line.split()[2:]}
    for line in (Path(__file__).parent / "fixtures" / "suites_of_others.txt").read_text(encoding="ascii").splitlines()
    if line.startswith("list ")
}
OURS = {*suites.BROAD_LEGACY, *suites.BROAD_TLS13}


def test_the_lists_of_others_are_there():
    assert {name: len(numbers) > 150 for name, numbers in LISTED.items()} == dict.fromkeys(
        ("openssl", "gnutls", "testssl", "nmap", "mbedtls"), True
    )


@pytest.mark.parametrize("tool", sorted(LISTED))
def test_every_suite_that_others_know_is_asked_for(tool):
    signals = {NULL_WITH_NULL_NULL, suites.EMPTY_RENEGOTIATION_INFO_SCSV, FALLBACK_SCSV}
    assert not {f"0x{number:04X}" for number in LISTED[tool] - OURS - signals}


def test_every_suite_of_tlslite_is_asked_for():
    theirs = {number for number in CipherSuite.ietfNames if number <= 0xFFFF} - {0x00FF, FALLBACK_SCSV}
    assert len(theirs) > 60
    assert not {hex(number) for number in theirs - OURS}


def test_every_ssl2_kind_that_testssl_knows_is_asked_for():
    kinds = {0x010080, 0x020080, 0x030080, 0x040080, 0x050080, 0x060040, 0x060140, 0x0700C0, 0x0701C0, 0x080080}
    assert kinds | {0xFF8000, 0xFF8010} <= set(suites.SSL2_ALL)


@pytest.mark.parametrize(
    "name",
    ["COMPACT_LEGACY", "RARE_LEGACY", "EXOTIC_LEGACY", "BROAD_LEGACY", "COMPACT_TLS13", "BROAD_TLS13", "SSL2_ALL"],
)
def test_no_suite_twice_and_none_is_a_signal(name):
    offered = getattr(suites, name)
    assert len(set(offered)) == len(offered)
    assert not set(offered) & {0x00FF, FALLBACK_SCSV, NULL_WITH_NULL_NULL} or name == "SSL2_ALL"
    assert not any(number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF for number in offered), "GREASE"


@pytest.mark.parametrize("name", ["COMPACT_LEGACY", "RARE_LEGACY", "EXOTIC_LEGACY", "COMPACT_TLS13"])
def test_short_forms_stay_under_wolfssls_limit(name):
    assert len(getattr(suites, name)) + 1 <= MOST_SUITES, "0x00ff counts too"


def test_legacy_forms_have_no_tls13_suite():
    assert not {0x1301, 0x1302, 0x1303, 0x1304, 0x1305} & set(suites.BROAD_LEGACY)


def test_short_forms_together_lack_only_what_the_method_says():
    """docs/method.md: ARIA and Camellia with PSK, six ARIA-CBC, CECPQ1, EC J-PAKE."""
    split = {*suites.COMPACT_LEGACY, *suites.RARE_LEGACY, *suites.EXOTIC_LEGACY}
    assert split <= set(suites.BROAD_LEGACY)
    psk = {*range(0xC064, 0xC072), *range(0xC08E, 0xC09C)}
    aria_cbc = {0xC040, 0xC041, 0xC046, 0xC047, 0xC058, 0xC059}
    assert set(suites.BROAD_LEGACY) - split == psk | aria_cbc | {0x16B7, 0x16B8, 0x16B9, 0x16BA, 0xC0FF}


def test_compact_shares_a_suite_with_every_ordinary_server():
    """Mozilla's intermediate and old profiles, and Windows Server 2008's defaults: at least one of each in common."""
    ordinary = [
        {0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x009E, 0x009F},
        {0xC009, 0xC00A},
        {0x000A},
        {0x002F, 0x0035, 0x0005, 0x000A},
        {0x0033, 0x0039},
        {0x0004},
    ]
    assert all(set(suites.COMPACT_LEGACY) & each for each in ordinary)

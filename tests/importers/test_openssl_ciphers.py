"""Cipher strings: ciphers(1) has @SECLEVEL, the classes, and what ``!`` and ``-`` take away."""

import pytest

from scanner.importers.openssl_ciphers import has_old_suites_at_level_0


@pytest.mark.parametrize(
    ("text", "has_them"),
    [
        ("ALL:@SECLEVEL=0", True),
        ("DEFAULT@SECLEVEL=0", True),
        ("HIGH:!aNULL:!kDHEPSK:@SECLEVEL=0", True),
        ("ALL:@SECLEVEL=0:@SECLEVEL=1", False),
        ("ALL:@SECLEVEL=1", False),
        ("ALL", False),
        ("", False),
        ("ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", False),
        ("ALL:!SHA1:@SECLEVEL=0", False),
        ("ALL:-kECDHE:@SECLEVEL=0", False),
        ("ALL:@SECLEVEL=0" + ":AES" * 2000, False),
    ],
)
def test_old_suites_are_sure_only_at_level_0_with_a_whole_class_of_them(text, has_them):
    assert has_old_suites_at_level_0(text) is has_them

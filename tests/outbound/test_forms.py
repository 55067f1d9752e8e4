import random

from hypothesis import given
from hypothesis import strategies as st

from scanner.model.versions import TlsVersion
from scanner.outbound.forms import form_of
from scanner.tls.client_hello import GREASE
from tests.outbound.hellos import decoded, hello, hello_bytes, u16, vector
from tests.outbound.recordings import ssl_client

V12, V13 = TlsVersion.TLS1_2, TlsVersion.TLS1_3
LASTING = [(10, vector(u16(29, 23))), (13, vector(u16(0x0403))), (16, vector(vector(b"h2", 1))), (23, b"")]


def test_same_client_twice_is_one_form():
    first, second = (decoded(ssl_client(V12, V13).feed(b"")) for _ in range(2))
    assert first.random != second.random
    assert form_of(first) == form_of(second)


def test_name_is_no_part_of_the_form():
    assert form_of(decoded(ssl_client(V12, V13, name="a.example").feed(b""))) == form_of(
        decoded(ssl_client(V12, V13, name="192.0.2.1").feed(b""))
    ), "RFC 6066: an address is not sent as SNI"


def test_clients_with_other_settings_are_other_forms():
    forms = {
        form_of(decoded(client.feed(b"")))
        for client in (
            ssl_client(V12, V13),
            ssl_client(V13, V13),
            ssl_client(V12, V12),
            ssl_client(V12, V12, ciphers="AES128-SHA:@SECLEVEL=0"),
        )
    }
    assert len(forms) == 4


@given(order=st.permutations(LASTING))
def test_order_of_extensions_does_not_matter(order):
    """Chromium shuffles them in each connection."""
    assert form_of(hello(extensions=order)) == form_of(hello(extensions=LASTING))


@given(seed=st.integers(0, 2**32))
def test_what_changes_from_one_connection_to_the_next_does_not_matter(seed):
    chance = random.Random(seed)
    grease = chance.choice(sorted(GREASE))
    share = u16(29) + vector(chance.randbytes(32))
    changing = [
        (grease, b""),
        (10, vector(u16(grease, 29, 23))),
        (51, vector(u16(grease) + vector(b"\x00") + share)),
        (35, chance.randbytes(chance.randrange(100))),
        (0xFE0D, chance.randbytes(50)),
        *[(41, chance.randbytes(60))] * chance.randrange(2),
        *[(42, b"")] * chance.randrange(2),
        *[(21, bytes(chance.randrange(50)))] * chance.randrange(2),
    ]
    steady = [(10, vector(u16(29, 23))), (51, vector(u16(29) + vector(bytes(32)))), (35, b""), (0xFE0D, b"")]
    found = hello(
        extensions=changing,
        listed=[grease, 0x0304, 0x0303],
        suites=[grease, 0x1301, 0xC02F],
        random=chance.randbytes(32),
    )
    assert form_of(found) == form_of(hello(extensions=steady, listed=[0x0304, 0x0303], suites=[0x1301, 0xC02F]))


def test_what_lasts_matters():
    base = form_of(hello(extensions=LASTING))
    others = {
        form_of(hello(extensions=LASTING[1:])),
        form_of(hello(extensions=[*LASTING, (5, b"\x01\x00\x00\x00\x00")])),
        form_of(hello(extensions=[(10, vector(u16(23, 29))), *LASTING[1:]])),
        form_of(hello(extensions=LASTING, suites=[0xC02F, 0x1301, 0x002F])),
        form_of(hello(extensions=LASTING, suites=[0x1301, 0xC02F, 0x002F, 0x5600])),
        form_of(hello(extensions=LASTING, legacy=0x0302)),
        form_of(hello(extensions=LASTING, listed=[0x0304])),
    }
    assert len(others | {base}) == 8


@given(data=st.binary(max_size=60), number=st.sampled_from([10, 13, 43, 51, 35, 41, 16]))
def test_broken_extensions_have_a_form_too(data, number):
    assert len(form_of(decoded(hello_bytes(extensions=[(number, data)])))) == 16

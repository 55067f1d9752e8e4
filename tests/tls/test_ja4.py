"""JA4 against fingerprints that others published, each with the lists it was made from (ja4_ro: in wire order)."""

import re
from pathlib import Path

import pytest

from scanner.tls.client_hello import ClientHello, decode_client_hello
from scanner.tls.ja4 import render_ja4

HELLOS = Path(__file__).parent / "hellos"
GREASE = 0x3A3A

# The JA4 specification's example (FoxIO-LLC/ja4, technical_details/JA4.md) with its own ja4_ro.
SPECIFICATION = (
    "t13d1516h2_8daaf6152771_e5627efa2ab1",
    (
        "t13d1516h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
        "_001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
        "_0403,0804,0401,0503,0805,0501,0806,0601"
    ),
)
# What FoxIO's own program says of the capture sigalg-grease.pcapng (python/test/testdata, commit 53567a2).
FOXIO_CAPTURE = (
    "t13d1517h2_8daaf6152771_cb7bf5808d99",
    (
        "t13d1517h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
        "_fe0d,0010,0017,0033,44cd,ff01,000a,000d,0023,002b,000b,ca34,002d,0000,0005,001b,0012"
        "_0904,0905,0906,0403,0804,0401,0503,0805,0501,0806,0601"
    ),
)
# What a public fingerprint page said of Chrome 143 on Android (recorded in service0427/v2_cp_app, tls.md).
CHROME_143 = (
    "t13d1516h2_8daaf6152771_d8a2da3f94cd",
    (
        "t13d1516h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
        "_002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,000d,001b"
        "_0403,0804,0401,0503,0805,0501,0806,0601"
    ),
)


def vector(size_bytes, data):
    return len(data).to_bytes(size_bytes, "big") + data


def u16s(numbers):
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def hello(*, suites=(), extensions=(), version=0x0303):
    """A decoded hello with these suites and these (number, data) extensions."""
    block = b"".join(number.to_bytes(2, "big") + vector(2, data) for number, data in extensions)
    body = version.to_bytes(2, "big") + bytes(32) + b"\x00" + vector(2, u16s(suites)) + b"\x01\x00" + vector(2, block)
    message = b"\x01" + vector(3, body)
    found = decode_client_hello(b"\x16\x03\x01" + vector(2, message))
    assert isinstance(found, ClientHello)
    return found


def alpn(*names):
    return 16, vector(2, b"".join(vector(1, name) for name in names))


def algorithms(*numbers):
    return 13, vector(2, u16s(numbers))


def hello_from(raw, *, grease):
    """The hello that a ja4_ro text describes; with GREASE wherever clients put it, or without."""
    what, *lists = raw.split("_")
    suites, numbers, schemes = ([int(each, 16) for each in text.split(",")] for text in lists)
    extra = [GREASE] if grease else []
    data = {
        0: vector(2, b"\x00" + vector(2, b"a.example")),
        10: vector(2, u16s([*extra, 29, 23])),
        13: vector(2, u16s([*schemes, *extra])),
        16: alpn(b"h2", b"http/1.1")[1],
        43: vector(1, u16s([*extra, 0x0304, 0x0303])),
    }
    assert what.startswith("t13d")
    extensions = [(number, data.get(number, b"\x00")) for number in [*extra, *numbers, *extra]]
    return hello(suites=[*extra, *suites], extensions=extensions)


@pytest.mark.parametrize("grease", [False, True])
@pytest.mark.parametrize(("ja4", "raw"), [SPECIFICATION, FOXIO_CAPTURE, CHROME_143])
def test_published_fingerprints(ja4, raw, grease):
    assert render_ja4(hello_from(raw, grease=grease)) == ja4


def test_real_chromium_gets_the_fingerprint_that_foxio_published_for_it():
    """Our capture (hellos/README.md) and FoxIO's of another Chromium: one fingerprint, as extensions are sorted."""
    found = decode_client_hello((HELLOS / "chromium-tls12-to-tls13.bin").read_bytes())
    assert render_ja4(found) == FOXIO_CAPTURE[0]


def test_without_signature_algorithms_no_underscore_is_hashed():
    """The specification's example: the same extensions alone give 6d807ffa2a79."""
    numbers = [int(each, 16) for each in SPECIFICATION[1].split("_")[2].split(",")]
    found = hello(suites=[0x1301], extensions=[(number, b"") for number in numbers])
    assert render_ja4(found).endswith("_6d807ffa2a79")


@pytest.mark.parametrize(
    ("version", "listed", "text"),
    [
        (0x0303, [0x0304, 0x0303], "13"),
        (0x0303, [0x0301, 0x0302], "11"),
        (0x0303, [GREASE, 0x0303], "12"),
        (0x0303, None, "12"),
        (0x0302, None, "11"),
        (0x0301, None, "10"),
        (0x0300, None, "s3"),
        (0x0304, None, "13"),
        (0x0303, [0x7F1C], "00"),
        (0x0303, [GREASE], "00"),
        (0x0399, None, "00"),
    ],
)
def test_version(version, listed, text):
    """The specification: the highest value listed, else the version of the message; unknown is 00."""
    extensions = [] if listed is None else [(43, vector(1, u16s(listed)))]
    assert render_ja4(hello(version=version, extensions=extensions))[1:3] == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # The specification's own table of names that are not alphanumeric.
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"", "00"),
    ],
)
def test_first_protocol_name(name, text):
    assert render_ja4(hello(extensions=[alpn(name, b"spdy/3")]))[8:10] == text


@pytest.mark.parametrize("extensions", [[], [(16, b"")], [(16, b"\x00\x00")]])
def test_no_protocol_name(extensions):
    assert render_ja4(hello(extensions=extensions))[8:10] == "00"


def test_what_is_not_there_is_written_as_zeros():
    assert render_ja4(hello()) == "t12i000000_000000000000_000000000000"
    only_those_left_out = hello(extensions=[(0, b""), alpn(b"h2"), (GREASE, b"")])
    assert render_ja4(only_those_left_out) == "t12d0002h2_000000000000_000000000000"


def test_counts_stop_at_99():
    found = hello(suites=range(1, 121), extensions=[(1_000 + number, b"") for number in range(120)])
    assert render_ja4(found).startswith("t12i999900_")
    assert render_ja4(hello(suites=[0x00FF, 0x5600, GREASE])).startswith("t12i0200"), "SCSVs count, GREASE doesn't"


def test_order_of_suites_and_extensions_does_not_matter_but_that_of_algorithms_does():
    one = hello(suites=[1, 2, 3], extensions=[(5, b""), (23, b""), algorithms(0x0403, 0x0804)])
    other = hello(suites=[3, 1, 2], extensions=[algorithms(0x0403, 0x0804), (23, b""), (5, b"")])
    third = hello(suites=[1, 2, 3], extensions=[(5, b""), (23, b""), algorithms(0x0804, 0x0403)])
    assert render_ja4(one) == render_ja4(other) != render_ja4(third)


@pytest.mark.parametrize("file", sorted(HELLOS.glob("*.bin")), ids=lambda file: file.stem)
def test_every_captured_hello_has_a_fingerprint_but_those_in_ssl2_format(file):
    text = render_ja4(decode_client_hello(file.read_bytes()))
    is_ssl2_format = file.read_bytes()[0] & 0x80
    assert (
        text == ""
        if is_ssl2_format
        else re.fullmatch(r"t(13|12|11|10|s3)[di]\d{4}\w\w_[0-9a-f]{12}_[0-9a-f]{12}", text)
    )

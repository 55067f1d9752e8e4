"""Tokens in names and paths: what is written is read back, what is not ours is left alone, and nothing raises."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import (
    NO_NAME_SUFFIX,
    Answer,
    ProbeToken,
    TriggerToken,
    encode_probe_name,
    encode_probe_path,
    encode_trigger_name,
    encode_trigger_path,
    is_authentic,
    read_name,
    read_path,
)

NONCE = "00112233445566ff"
SECRET = b"correct horse battery staple"


def openssl_mac(method, host):
    """The mac as an independent program makes it."""
    key = SECRET.decode()
    said = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", key], input=f"{method}|{host}".encode(), capture_output=True, check=True
    )
    return said.stdout.decode().rsplit("= ", 1)[1].strip()[:12]


def test_probe_name_has_the_agreed_form():
    assert encode_probe_name(ProbeToken(NONCE, Answer.TLS12), "listen.example.com") == (
        "p-00112233445566ff-tls12.listen.example.com"
    )


def test_trigger_name_has_the_agreed_form():
    assert encode_trigger_name("winhttp", "sts.example.com", NO_NAME_SUFFIX, None) == (
        "t-0-winhttp.sts.example.com.tls-probe.tls-probe.invalid"
    )


def test_trigger_mac_is_what_openssl_computes():
    mac = openssl_mac("adfs-metadata", "sts.example.com")
    name = encode_trigger_name("adfs-metadata", "STS.example.com.", "l.example.com", SECRET)
    assert name == f"t-{mac}-adfs-metadata.sts.example.com.tls-probe.l.example.com"


@pytest.mark.parametrize(
    ("host", "labels"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "ip6-2001-0db8-0000-0000-0000-0000-0000-0007"),
        ("proxy", "proxy"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts_as_labels(host, labels):
    name = encode_trigger_name("curl", host, "l.example", None)
    assert name == f"t-0-curl.{labels}.tls-probe.l.example"
    assert read_name(name).host == host.lower()


def test_each_answer_names_its_version():
    assert {answer.value: answer.version for answer in Answer} == {
        "any": None,
        "tls13": TlsVersion.TLS1_3,
        "tls12": TlsVersion.TLS1_2,
        "tls11": TlsVersion.TLS1_1,
        "tls10": TlsVersion.TLS1_0,
        "ssl3": TlsVersion.SSL3,
        "ssl2": TlsVersion.SSL2,
    }
    assert [Answer.for_version(answer.version) for answer in Answer] == list(Answer)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "login.microsoftonline.com",
        "p-0011223344556-any.x",
        "p-00112233445566fg-any.x",
        f"p-{NONCE}-tls14.x",
        f"p-{NONCE}.x",
        f"q-{NONCE}-any.x",
        "t-0-curl.sts.example.com",  # no mark: where the host ends is not known
        "t-0-curl.tls-probe.x",  # no host
        "t-0-.sts.example.com.tls-probe.x",
        "t-12345-curl.sts.example.com.tls-probe.x",
        "t-0-curl.192.0.2.tls-probe.x",
        "t-0-curl.192.0.2.777.tls-probe.x",
        "t-0-curl.ip6-zz.tls-probe.x",
        "t-0-curl.a..b.tls-probe.x",
        "t-0-curl.b\u00fccher.example.tls-probe.x",
        "t-0-curl.a b.tls-probe.x",
        "t-0-curl.<script>.tls-probe.x",
        f"p-{NONCE}-any." + "x" * 300,
        "t-0-curl.host\x00.tls-probe.x",
    ],
)
def test_names_that_are_not_ours(name):
    assert read_name(name) is None


def test_names_are_read_whatever_their_case_and_final_dot():
    assert read_name(f"P-{NONCE.upper()}-ANY.Example.COM.") == ProbeToken(NONCE, Answer.ANY)


@pytest.mark.parametrize(
    ("path", "token"),
    [
        (f"/p/p-{NONCE}-any/FederationMetadata.xml", ProbeToken(NONCE, Answer.ANY)),
        (f"/p/p-{NONCE}-tls10", ProbeToken(NONCE, Answer.TLS10)),
        (f"/p/p-{NONCE}-tls10?x=1", ProbeToken(NONCE, Answer.TLS10)),
        ("/t/t-0-curl.sts.example.com/x", TriggerToken("0", "curl", "sts.example.com")),
        ("/t/t-0-curl.sts.example.com.tls-probe/x", TriggerToken("0", "curl", "sts.example.com")),
        (f"/t/p-{NONCE}-any/x", None),
        ("/p/t-0-curl.sts.example.com/x", None),
        (f"/x/p-{NONCE}-any", None),
        (f"p/p-{NONCE}-any", None),
        ("/t/", None),
        ("/", None),
        (None, None),
        ("/t/t-0-curl./", None),
    ],
)
def test_paths(path, token):
    assert read_path(path) == token


def test_paths_that_we_write_are_read_back():
    assert read_path(encode_probe_path(ProbeToken(NONCE, Answer.SSL3))) == ProbeToken(NONCE, Answer.SSL3)
    token = read_path(encode_trigger_path("curl", "2001:db8::7", SECRET))
    assert token == TriggerToken(openssl_mac("curl", "2001:db8::7"), "curl", "2001:db8::7")
    assert is_authentic(token, SECRET)


@pytest.mark.parametrize(
    ("method", "host", "suffix"),
    [
        ("curl", "sts.example.com", "x" * 64),
        ("curl", "sts.example.com", ".".join(["x" * 60] * 4)),
        ("c" * 60, "sts.example.com", "l.example"),
        ("curl", "x" * 64 + ".example", "l.example"),
        ("Curl", "sts.example.com", "l.example"),
        ("curl-", "sts.example.com", "l.example"),
        ("", "sts.example.com", "l.example"),
        ("curl", "", "l.example"),
        ("curl", "b\u00fccher.example", "l.example"),
        ("curl", "fe80::1%eth0", "l.example"),
        ("curl", "192.0.2", "l.example"),
        ("curl", "192.0.2.7.9", "l.example"),
        ("curl", "a.tls-probe.example", "l.example"),
        ("curl", "ip6-0000-0000-0000-0000-0000-0000-0000-0001", "l.example"),
        ("curl", "sts.example.com", ""),
        ("curl", "sts.example.com", "a b"),
    ],
)
def test_what_can_not_stand_in_a_name_is_refused(method, host, suffix):
    with pytest.raises(ValueError, match=r"."):
        encode_trigger_name(method, host, suffix, None)


@pytest.mark.parametrize("nonce", ["", "0" * 15, "0" * 17, "G" * 16, "AABBCCDDEEFF0011"])
def test_a_nonce_of_another_form_is_refused(nonce):
    with pytest.raises(ValueError, match="nonce"):
        encode_probe_name(ProbeToken(nonce, Answer.ANY), "l.example")


def test_authenticity():
    right = read_name(encode_trigger_name("curl", "sts.example.com", "l.example", SECRET))
    for token in (
        TriggerToken("0", "curl", "sts.example.com"),
        TriggerToken(right.mac, "curl", "other.example.com"),
        TriggerToken(right.mac, "winhttp", "sts.example.com"),
        TriggerToken("0" * 12, "curl", "sts.example.com"),
    ):
        assert not is_authentic(token, SECRET)
        assert is_authentic(token, None)
    assert is_authentic(right, SECRET)
    assert not is_authentic(right, b"another")
    assert is_authentic(ProbeToken(NONCE, Answer.ANY), SECRET)


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,15}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
HOSTS = st.one_of(st.ip_addresses().map(str), NAMES)


@given(method=st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,3}", fullmatch=True), host=HOSTS, suffix=NAMES)
def test_every_trigger_name_that_is_written_is_read_back(method, host, suffix):
    try:
        name = encode_trigger_name(method, host, suffix, SECRET)
    except ValueError:
        return  # such as a host of digits only, or with the mark in it
    token = read_name(name)
    assert (token.method, token.host) == (method, host)
    assert is_authentic(token, SECRET)


@given(nonce=st.text("0123456789abcdef", min_size=16, max_size=16), answer=st.sampled_from(Answer), suffix=NAMES)
def test_every_probe_name_that_is_written_is_read_back(nonce, answer, suffix):
    token = ProbeToken(nonce, answer)
    assert read_name(encode_probe_name(token, suffix)) == token


@given(st.one_of(st.text(), st.text("pt-0123456789abcdef./ip6tls-probecurl", max_size=80)))
def test_reading_never_raises(text):
    for read in (read_name, read_path):
        assert read(text) is None or isinstance(read(text), ProbeToken | TriggerToken)

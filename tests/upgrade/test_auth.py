"""Digest against the RFCs' own vectors; which scheme is chosen; when credentials are not sent again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.upgrade.auth import Challenge, ProxyAuth, parse_challenges, render_basic, render_digest
from scanner.upgrade.credentials import Credentials

USER = Credentials("lab-user", "lab-secret-7f3a")


def _digest(value, credentials, *, uri, client_nonce, count=1, method="GET"):
    (challenge,) = parse_challenges([value])
    text = render_digest(challenge, credentials, method=method, uri=uri, client_nonce=client_nonce, count=count)
    return text, re.search(r'response="([0-9a-f]+)"', text)[1]


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm, response):
    value = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    text, found = _digest(
        value,
        Credentials("Mufasa", "Circle of Life"),
        uri="/dir/index.html",
        client_nonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert found == response
    for part in ('username="Mufasa"', "qop=auth,", "nc=00000001", f"algorithm={algorithm}", 'uri="/dir/index.html"',
                 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'):  # fmt: skip
        assert part in text


def test_rfc_2617_section_3_5():
    value = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    _, found = _digest(value, Credentials("Mufasa", "Circle Of Life"), uri="/dir/index.html", client_nonce="0a4f113b")
    assert found == "6629fae49393a05397450978507c4ef1"


def test_rfc_2069_section_2_4_as_its_erratum_749_has_it():
    value = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    text, found = _digest(value, Credentials("Mufasa", "CircleOfLife"), uri="/dir/index.html", client_nonce="x")
    assert found == "1949323746fe6a43ef61f9606e7febea"
    assert not re.search("qop|nc=|cnonce|algorithm", text)


def test_rfc_7617_sections_2_and_2_1():
    assert render_basic(Credentials("Aladdin", "open sesame")) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert render_basic(Credentials("test", "123£")) == "Basic dGVzdDoxMjPCow=="


MD5 = 'Digest realm="r", nonce="1"'
SHA256 = 'Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth"'
BASIC = 'Basic realm="r"'


@pytest.mark.parametrize(
    ("values", "begin"),
    [
        ([BASIC, MD5, SHA256], 'Digest username="lab-user", realm="r", nonce="2"'),
        ([f"{BASIC}, {SHA256}, {MD5}"], 'Digest username="lab-user", realm="r", nonce="2"'),
        ([f"{MD5}, {BASIC}"], 'Digest username="lab-user", realm="r", nonce="1"'),
        (["Negotiate", "NTLM", BASIC], "Basic "),
        (["Negotiate YIIC/w==, NTLM TlRM==, " + BASIC], "Basic "),
        (['Digest realm="r", nonce="1", qop="auth-int"', BASIC], "Basic "),
        (
            ['Digest realm="r", nonce="1", algorithm=SHA-512-256', MD5],
            'Digest username="lab-user", realm="r", nonce="1"',
        ),
        (['digest REALM = "r" , NONCE = "1"'], 'Digest username="lab-user", realm="r", nonce="1"'),
        (["basic"], "Basic "),
    ],
)
def test_the_strongest_that_can_be_answered_is(values, begin):
    auth = ProxyAuth()
    assert auth.on_challenge(values, has_credentials=True, was_answered=False) is None
    assert auth.render(USER, method="CONNECT", uri="a:1").startswith(begin)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["Negotiate"], "the proxy asks for Negotiate, which this program doesn't speak"),
        (["NTLM", "Negotiate"], "the proxy asks for NTLM or Negotiate, which this program doesn't speak"),
        (['Digest realm="r", nonce="1", qop="auth-int"'], "the proxy asks for Digest (MD5, auth-int), which"),
        (['Digest realm="r", nonce="1", algorithm=SHA-512-256'], "the proxy asks for Digest (SHA-512-256), which"),
        (['Digest realm="r"'], "the proxy asks for Digest (MD5), which"),
        ([], "the proxy does not say what it asks for"),
        ([",,= \x1b"], "the proxy does not say what it asks for"),
    ],
)
@pytest.mark.parametrize("has_credentials", [True, False])
def test_what_can_not_be_answered_is_said(values, why, has_credentials):
    auth = ProxyAuth()
    assert auth.on_challenge(values, has_credentials=has_credentials, was_answered=False).startswith(why)
    assert auth.render(USER, method="CONNECT", uri="a:1") is None


def test_without_credentials_it_is_said_what_is_asked_for():
    why = ProxyAuth().on_challenge([BASIC], has_credentials=False, was_answered=False)
    assert why == "the proxy asks for Basic, and there are no credentials for it"


def test_nothing_is_sent_to_a_proxy_that_has_not_asked():
    assert ProxyAuth().render(USER, method="CONNECT", uri="a:1") is None


def test_refused_credentials_are_not_sent_again():
    auth = ProxyAuth()
    auth.on_challenge([BASIC], has_credentials=True, was_answered=False)
    assert auth.render(USER, method="CONNECT", uri="a:1")
    assert auth.on_challenge([BASIC], has_credentials=True, was_answered=True) == "the proxy refused the credentials"
    assert auth.is_refused
    assert auth.render(USER, method="CONNECT", uri="a:1") is None
    assert "before" in auth.on_challenge([BASIC], has_credentials=True, was_answered=False)


def test_a_stale_nonce_is_no_refusal_but_not_for_ever():
    auth = ProxyAuth()
    auth.on_challenge([f'{MD5}, qop="auth"'], has_credentials=True, was_answered=False)
    assert "nc=00000001" in auth.render(USER, method="CONNECT", uri="a:1")
    assert "nc=00000002" in auth.render(USER, method="CONNECT", uri="a:1")
    stale = 'Digest realm="r", nonce="new", qop="auth", stale=TRUE'
    assert auth.on_challenge([stale], has_credentials=True, was_answered=True) is None
    again = auth.render(USER, method="CONNECT", uri="a:1")
    assert 'nonce="new"' in again
    assert "nc=00000001" in again
    outcomes = [auth.on_challenge([stale], has_credentials=True, was_answered=True) for _ in range(10)]
    assert outcomes[-1] is not None
    assert auth.is_refused


def test_a_proxy_that_offered_digest_is_not_sent_the_password_later():
    auth = ProxyAuth()
    auth.on_challenge([MD5, BASIC], has_credentials=True, was_answered=False)
    auth.on_accepted()
    why = auth.on_challenge([BASIC], has_credentials=True, was_answered=False)
    assert why.startswith("the proxy asks for Basic only")


PIECE = st.sampled_from(['"', "\\", ",", "=", " ", "Digest", "Basic", "realm", "nonce", "qop", "auth", "é", "\t", "/"])


@given(st.lists(st.lists(PIECE | st.text(max_size=5), max_size=40).map("".join), max_size=4))
def test_no_challenge_raises(values):
    auth = ProxyAuth()
    latin = [value.encode("utf-8").decode("latin-1") for value in values]
    if auth.on_challenge(latin, has_credentials=True, was_answered=False) is None:
        assert auth.render(USER, method="CONNECT", uri="a:1").encode("latin-1")
    assert USER.password not in repr(auth)


def test_long_nonsense_is_read_in_no_time():
    assert len(parse_challenges(['a="' * 100_000, "\\" * 100_000, "x " * 100_000])) < 10_000


def test_a_name_that_is_not_ascii_is_sent_as_utf_8():
    challenge = Challenge(scheme="digest", parameters={"realm": "r", "nonce": "1"})
    text = render_digest(
        challenge, Credentials('Jäsøn "D"', "x"), method="CONNECT", uri="a:1", client_nonce="c", count=1
    )
    assert text.encode("latin-1").startswith('Digest username="Jäsøn \\"D\\""'.encode())

"""The API's service: who proves the secret is answered, everybody else gets the same 403, late."""

import asyncio
import json
import ssl
import time

import pytest

from scanner.listener import api
from scanner.listener.access import RecentExchanges
from scanner.listener.api import ApiRequest, ApiService, ApiSession, open_api_context
from scanner.listener.messages import (
    MAC_HEADER,
    NONCE_HEADER,
    TIME_HEADER,
    WINDOW_S,
    decode_exchanges,
    derive_key,
    is_same_mac,
    request_mac,
    response_mac,
)
from tests.listener.running import SECRET, identity
from tests.listener.samples import exchange

LEAF = "ab" * 32
NOW_S = 1_800_000_000
NONCE = "0f" * 16
A = "a" * 16


@pytest.fixture(autouse=True)
def short_delay(monkeypatch):
    monkeypatch.setattr(api, "REFUSAL_DELAY_S", 0.05)


def service(recent=None):
    about = {"suffix": "l.example", "ca_sha256": "cd", "version": "1"}
    return ApiService(SECRET, recent or RecentExchanges(), lambda: about, clock=lambda: NOW_S)


def signed(target, *, method="GET", nonce=NONCE, time_text=str(NOW_S), leaf=LEAF, secret=SECRET, **headers):
    mac = request_mac(
        derive_key(secret), method=method, target=target, nonce=nonce, time_text=time_text, leaf_sha256=leaf
    )
    said = {NONCE_HEADER: nonce, TIME_HEADER: time_text, MAC_HEADER: mac} | headers
    return ApiRequest(method=method, target=target, headers=said)


def ask(request, *, of=None):
    return asyncio.run((of or service()).answer(request, LEAF))


def test_about():
    response = ask(signed("/v1/about"))
    assert (response.status, json.loads(response.body)["suffix"]) == (200, "l.example")
    expected = response_mac(derive_key(SECRET), nonce=NONCE, leaf_sha256=LEAF, status=200, body=response.body)
    assert is_same_mac(response.mac, expected)


def test_hellos():
    recent = RecentExchanges()
    recent.add(A, exchange(5))
    response = ask(signed(f"/v1/hellos?nonces={A}&wait_s=5"), of=service(recent))
    assert [each.request.id for each in decode_exchanges(response.body)] == [5]


@pytest.mark.parametrize(
    "request_",
    [
        signed("/v1/about", secret=b"another"),
        signed("/v1/about", leaf="cd" * 32),  # the certificate of somebody in the middle
        signed("/v1/about", time_text=str(NOW_S + int(WINDOW_S) + 1)),
        signed("/v1/about", time_text=str(NOW_S - int(WINDOW_S) - 1)),
        signed("/v1/about", time_text="now"),
        signed("/v1/about", nonce="short"),
        signed("/v1/about", **{MAC_HEADER: ""}),
        signed("/v1/about", **{MAC_HEADER: "\u00fc"}),
        ApiRequest(method="GET", target="/v1/about", headers={}),
        ApiRequest(method="GET", target="/v1/none", headers={}),
        ApiRequest(method="GET", target="/v1/hellos?nonces=" + A, headers=signed("/v1/about").headers),
        ApiRequest(method="POST", target="/v1/about", headers=signed("/v1/about").headers),
    ],
)
def test_who_proves_nothing_learns_nothing(request_):
    begun_s = time.monotonic()
    response = ask(request_)
    assert time.monotonic() - begun_s >= 0.045
    assert (response.status, response.body, response.mac) == (403, b'{"v": 1, "error": "forbidden"}', None)


def test_a_request_is_good_once():
    one = service()
    assert ask(signed("/v1/about"), of=one).status == 200
    assert ask(signed("/v1/about"), of=one).status == 403
    assert ask(signed("/v1/about", nonce="1f" * 16), of=one).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (signed("/v1/other"), 404),
        (signed("/v1/about", method="POST"), 405),
        (signed("/v1/hellos"), 400),
        (signed("/v1/hellos?nonces="), 400),
        (signed("/v1/hellos?nonces=XYZ"), 400),
        (signed(f"/v1/hellos?nonces={A}&wait_s=-1"), 400),
        (signed(f"/v1/hellos?nonces={A}&wait_s=nan"), 400),
        (signed(f"/v1/hellos?nonces={A}&wait_s=x"), 400),
        (signed("/v1/hellos?nonces=" + ",".join([A] * 201)), 400),
        (signed("//["), 400),
    ],
)
def test_what_can_not_be_answered(request_, status):
    response = ask(request_)
    assert response.status == status
    assert response.mac is not None


def converse(*pieces, size=None):
    """A session fed by a client made of memory; returns (session, the client's TLS object, its two BIOs)."""
    leaf = next(leaf for leaf in identity().leaves_for(None) if not leaf.is_rsa)
    session = ApiSession(open_api_context(leaf), LEAF)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["entra-tls-api/1"])
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)

    def move():
        data = to_server.read()
        for at in range(0, len(data), size or len(data) or 1):
            to_client.write(session.feed(data[at : at + (size or len(data))]))

    for _ in range(4):
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            move()
    for piece in pieces:
        client.write(piece)
        move()
    return session, client, (to_client, to_server)


@pytest.mark.parametrize("size", [None, 1, 100])
def test_a_session_reads_a_request_however_it_is_cut(size):
    session, client, (to_client, _) = converse(b"GET /v1/about HT", b"TP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n", size=size)
    assert (session.request.method, session.request.target) == ("GET", "/v1/about")
    assert session.request.headers["x-a"] == "b"
    to_client.write(session.respond(api.ApiResponse(status=200, body=b"{}", mac="m")))
    said = client.read(10_000)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nx-entra-tls-mac: m\r\n" in said
    assert said.endswith(b"\r\n\r\n{}")
    assert session.is_over


@pytest.mark.parametrize("wrong", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5_000])
def test_a_session_ends_where_there_is_no_request(wrong):
    session, *_ = converse(wrong)
    assert (session.is_over, session.request) == (True, None)


@pytest.mark.parametrize("wrong", [b"", b"\x16\x03\x01\x00\x05garbage and more of it"])
def test_a_session_ends_where_there_is_no_tls(wrong):
    leaf = identity().leaves_for(None)[0]
    session = ApiSession(open_api_context(leaf), LEAF)
    session.feed(wrong)
    assert session.is_over


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_api_speaks_tls_1_2_and_newer_with_forward_secrecy(version):
    context = open_api_context(identity().leaves_for(None)[1])
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert version <= context.maximum_version or context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert {cipher["kea"] for cipher in context.get_ciphers()} <= {"kx-ecdhe", "kx-any"}

"""What the lane remembers of answers: replies of equal key say the same, and the steps ask what the ladder would."""

import functools
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scanner.answers import AnswerKind, read_answer
from scanner.model.exchange import Ending, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.probes.hello_ladder import plan_next
from scanner.probes.plan_memory import PlanMemory
from scanner.sweep import steps as module
from scanner.sweep.steps import Steps, is_trouble, may_be_decided, reply_key
from scanner.tls.hello import RANDOM_BYTES, encode_hello, variants_for
from scanner.tls.reply import Incomplete, decode_reply, read_reply
from tests.hostile import wire
from tests.hostile.honest import HANDSHAKE_FAILURE, OPENSSL_LIKE, Honest, Reply
from tests.kinds_of_hosts import AT
from tests.tls.test_reply import CAPTURED, SAMPLES

ENDPOINT = Endpoint(host="192.0.2.7", address="192.0.2.7", port=443, server_name="a.example")
QUESTIONS = [(version, variant) for version in ALL_VERSIONS for variant in variants_for(version)]
FEW = [
    (TlsVersion.SSL2, HelloVariant.BROAD),
    (TlsVersion.SSL3, HelloVariant.RARE),  # nameless
    (TlsVersion.TLS1_0, HelloVariant.BROAD),
    (TlsVersion.TLS1_2, HelloVariant.COMPACT),
    (TlsVersion.TLS1_3, HelloVariant.BROAD),
]
"""Enough to tell every member of an answer, where thousands of replies are read."""


@functools.cache
def _hello(question, seed):
    version, variant = question
    random = bytes([seed]) * RANDOM_BYTES
    return encode_hello(version=version, variant=variant, server_name=ENDPOINT.server_name, random=random)


def _exchange(question, received, *, ending=Ending.COMPLETE, os_error=None, at=AT, seed=0, was_sent=True):
    version, variant = question
    return Exchange(
        request=ProbeRequest(id=1, probe=Probe.HELLO, endpoint=ENDPOINT, version=version, variant=variant),
        started_at=at,
        sent=_hello(question, seed) if was_sent else b"",
        received=received,
        ending=ending,
        elapsed_s=0.1,
        os_error=os_error,
    )


def _say_the_same(one, other, **facts):
    """Whether two replies are the same answer to every kind of question, but for its time."""
    for question in FEW:
        first = read_answer(_exchange(question, one, seed=1, **facts))
        second = read_answer(_exchange(question, other, seed=2, at=AT + timedelta(days=1), **facts))
        if replace(first, at=second.at) != second:
            return False
    return True


def _server_hello(  # noqa: PLR0917  # every part of one message
    legacy=0x0303, random=wire.PLAIN_RANDOM, session_id=b"", suite=0xC02F, extensions=b"", record=None, version=0x0303
):
    body = struct.pack("!H", legacy) + random + bytes([len(session_id)]) + session_id + struct.pack("!HB", suite, 0)
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x02" + len(body).to_bytes(3) + body
    return b"\x16" + struct.pack("!HH", version, len(message) if record is None else record) + message


HELLO_12 = _server_hello()
RETRY = wire.encode_record(
    wire.HANDSHAKE, 0x0303, wire.encode_server_hello_13(0x1301, group=wire.X25519, is_retry=True, session_id=bytes(32))
)
HELLO_13 = wire.encode_record(
    wire.HANDSHAKE, 0x0303, wire.encode_server_hello_13(0x1301, group=wire.X25519, session_id=bytes(32))
)
MANY = {
    **SAMPLES,
    "alert 70": wire.encode_alert(70, record_version=0x0301),
    "TLS 1.2": HELLO_12,
    "TLS 1.2 and a certificate in one record": wire.encode_record(
        wire.HANDSHAKE, 0x0303, HELLO_12[5:] + b"\x0b\x00\x00\x10" + bytes(16)
    ),
    "TLS 1.2, downgraded": _server_hello(random=wire.PLAIN_RANDOM[:24] + b"DOWNGRD\x01", session_id=bytes(32)),
    "TLS 1.0, downgraded": _server_hello(legacy=0x0301, suite=0x2F, random=wire.PLAIN_RANDOM[:24] + b"DOWNGRD\x00"),
    "retry": RETRY,
    "retry, then ServerHello": RETRY + HELLO_13,
    "retry, change_cipher_spec, then ServerHello": RETRY + b"\x14\x03\x03\x00\x01\x01" + HELLO_13,
    "TLS 1.3": HELLO_13,
    "a session id that does not fit": HELLO_12[:43] + b"\x21" + HELLO_12[44:],
    "a short ServerHello": wire.encode_record(wire.HANDSHAKE, 0x0303, b"\x02\x00\x00\x25" + bytes(37)),
}


# Equal keys, equal answers


@pytest.mark.parametrize("name", MANY)
def test_a_byte_that_is_not_in_the_key_is_not_in_the_answer(name):
    """Every byte of the reply is changed; where the key stays, so does what every hello would make of it."""
    reply = MANY[name]
    key = reply_key(reply, Ending.COMPLETE, None)
    if key is None:
        return  # decoded each time
    for at in range(len(reply)):
        values = {reply[at] ^ bit for bit in (1, 0x80, 0xFF)} | {33}
        for value in values - {reply[at]}:
            changed = reply[:at] + bytes([value]) + reply[at + 1 :]
            if reply_key(changed, Ending.COMPLETE, None) == key:
                assert _say_the_same(reply, changed), (at, value)


def _extension(number, data):
    return struct.pack("!HH", number, len(data)) + data


EXTENSIONS = st.lists(
    st.one_of(
        st.sampled_from([0x0304, 0x0303, 0x7F1C]).map(lambda number: _extension(43, struct.pack("!H", number))),
        st.binary(max_size=3).map(lambda data: _extension(43, data)),
        st.sampled_from([_extension(51, b"\x00\x1d"), _extension(44, b"\x00\x01c"), _extension(0xFF01, b"\x00")]),
        st.binary(max_size=6),
    ),
    max_size=3,
).map(b"".join)
RANDOMS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.just(wire.HELLO_RETRY_RANDOM),
    st.binary(min_size=24, max_size=24).flatmap(
        lambda head: st.sampled_from([b"DOWNGRD\x00", b"DOWNGRD\x01", b"DOWNGRD\x02"]).map(lambda tail: head + tail)
    ),
)


@st.composite
def _two_replies(draw):
    """Two replies of one kind: what a key may leave out is drawn for each, the rest for both."""
    legacy = draw(st.sampled_from([0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0002, 0x0305]))
    suite = draw(st.sampled_from([0xC02F, 0x1301, 0x002F, 0x0A0A]))
    extensions = draw(EXTENSIONS)
    id_bytes = draw(st.integers(0, 40))
    cut = draw(st.sampled_from([0, 0, 0, 1, 2, 5, 40]))
    version = draw(st.sampled_from([0x0301, 0x0303, 0x0304]))
    made = []
    for _ in range(2):
        reply = _server_hello(
            legacy, draw(RANDOMS), draw(st.binary(min_size=id_bytes, max_size=id_bytes)), suite, extensions
        )
        body = reply[9 : len(reply) - cut]
        message = b"\x02" + len(body).to_bytes(3) + body
        tail = draw(
            st.sampled_from([b"", b"\x14\x03\x03\x00\x01\x01", HELLO_13, HELLO_12, wire.encode_alert(40), b"\x00"])
        )
        more = draw(st.sampled_from([0, 0, len(tail), len(tail) + 1, 1, 20_000, -1]))
        made.append(b"\x16" + struct.pack("!HH", version, len(message) + more) + message + tail)
    return made


@settings(max_examples=400)
@given(_two_replies())
def test_replies_of_equal_key_are_equal_answers(replies):
    one, other = replies
    key = reply_key(one, Ending.COMPLETE, None)
    is_equal = key is not None and key == reply_key(other, Ending.COMPLETE, None)
    event(f"equal keys: {is_equal}")
    if is_equal:
        assert _say_the_same(one, other)


def test_hellos_that_differ_by_chance_only_have_one_key():
    """Else nothing would be remembered, and the tests above would say nothing."""
    one = _server_hello(random=b"a" * 32, session_id=b"a" * 32)
    other = _server_hello(random=b"b" * 32, session_id=b"b" * 32)
    assert reply_key(one, Ending.COMPLETE, None) == reply_key(other, Ending.COMPLETE, None) is not None
    with_more = wire.encode_record(wire.HANDSHAKE, 0x0303, one[5:] + b"\x0b\x00\x00\x04abcd")
    assert reply_key(with_more, Ending.COMPLETE, None) == reply_key(one, Ending.COMPLETE, None)
    assert reply_key(wire.encode_alert(70), Ending.COMPLETE, None) is not None


def test_a_record_too_long_to_read_has_no_key():
    # RFC 5246 section 6.2.3: 2^14 + 2048 bytes at most. Its ServerHello is there whole all the same.
    assert reply_key(_server_hello(record=18_433), Ending.COMPLETE, None) is None
    assert reply_key(_server_hello(record=18_432), Ending.COMPLETE, None) is not None


def test_where_a_retry_request_ends_is_in_its_key():
    """The same bytes, but the second ServerHello is in the first one's record: it is none then."""
    together = RETRY[:3] + struct.pack("!H", len(RETRY) - 5 + len(HELLO_13)) + RETRY[5:] + HELLO_13
    assert not _say_the_same(RETRY + HELLO_13, together)
    assert reply_key(RETRY + HELLO_13, Ending.COMPLETE, None) != reply_key(together, Ending.COMPLETE, None)


WORDLESS = [
    (Ending.PEER_CLOSED, None),
    (Ending.PEER_RESET, "ECONNRESET"),
    (Ending.PEER_RESET, "EPIPE"),
    (Ending.TIMED_OUT_READ, None),
    (Ending.TIMED_OUT_CONNECT, None),
    (Ending.TIMED_OUT_CONNECT, "ETIMEDOUT"),
    (Ending.REFUSED, "ECONNREFUSED"),
    (Ending.UNREACHABLE, "EHOSTUNREACH"),
    (Ending.UNREACHABLE, "ENETUNREACH"),
]


def test_endings_without_a_word_are_told_apart_as_their_answers_are():
    kinds = [(ending, error, was_sent) for ending, error in WORDLESS for was_sent in (True, False)]
    for one in kinds:
        for other in kinds:
            answers = [
                [
                    read_answer(_exchange(question, b"", ending=ending, os_error=error, was_sent=was_sent))
                    for question in QUESTIONS
                ]
                for ending, error, was_sent in (one, other)
            ]
            keys = [reply_key(b"", ending, error, was_sent=was_sent) for ending, error, was_sent in (one, other)]
            if keys[0] == keys[1]:
                assert answers[0] == answers[1], (one, other)


@pytest.mark.parametrize("ending", [Ending.PEER_CLOSED, Ending.PEER_RESET, Ending.TIMED_OUT_READ, Ending.OVERSIZE])
@pytest.mark.parametrize("reply", [HELLO_12, HELLO_12[:20], b"\x15\x03\x03\x00\x02\x02\x46", b"HTTP/1.1 400"])
def test_bytes_that_did_not_end_as_wanted_have_no_key(reply, ending):
    assert reply_key(reply, ending, None) is None


def test_a_warning_has_no_key():
    """It may be followed by what counts (RFC 6066 section 3)."""
    assert reply_key(wire.encode_alert(112, level=wire.WARNING), Ending.COMPLETE, None) is None


# What is decided


def _decides(reply, pieces):
    """How many bytes read_reply took until it had decided, and its Reply; None where it waits for more."""
    reader = read_reply(sent=b"\x16\x03\x01\x02\x00\x01")
    next(reader)
    count = 0
    for piece in pieces:
        count += len(piece)
        try:
            reader.send(piece)
        except StopIteration as stop:
            return count, stop.value
    return None


def _assert_decided(received):
    """If the quick way calls the bytes decided, then the full reader has decided by their end, and the same."""
    if may_be_decided(received):
        whole = _decides(received, [received])
        assert whole is not None
        assert whole[1] == decode_reply(received, sent=b"\x16\x03\x01\x02\x00\x01")
        assert not isinstance(whole[1], Incomplete)
        by_bytes = _decides(received, [received[at : at + 1] for at in range(len(received))])
        assert by_bytes is not None
        assert by_bytes[1] == whole[1]


@pytest.mark.parametrize("name", MANY)
def test_what_is_decided_is_decided_for_the_full_reader_too(name):
    for end in {*range(1, min(len(MANY[name]), 200)), len(MANY[name])}:
        _assert_decided(MANY[name][:end])


@given(_two_replies())
def test_odd_replies_that_are_decided_are_so_for_the_full_reader_too(replies):
    for reply in replies:
        _assert_decided(reply)


@given(st.binary(max_size=80))
def test_rubbish_is_never_decided_before_the_full_reader_has(data):
    _assert_decided(data)
    _assert_decided(b"\x16\x03\x03" + data)
    _assert_decided(b"\x15\x03\x03\x00\x02" + data)


def test_everyday_replies_are_decided_by_the_quick_way():
    """Else the hot path would be none; the fixtures of SSLv2 and two records are for the full reader."""
    quick = {name for name, reply in CAPTURED.items() if may_be_decided(reply)}
    assert CAPTURED.keys() - quick == {"node08-ssl2"}


# Steps


class _Host:
    """Answers as a scripted server does, and walks the steps."""

    def __init__(self, server, *, failing=()):
        self.server = server
        self.failing = failing
        self.answers = []
        self.asked = []

    def ask(self, question):
        self.asked.append(question)
        if len(self.asked) in self.failing:
            facts = {"received": b"", "ending": Ending.PEER_RESET, "os_error": "ECONNRESET"}
        else:
            hello = encode_hello(
                version=question.version, variant=question.variant, server_name=None, random=bytes(RANDOM_BYTES)
            )
            reply = self.server.reply(wire.decode_hello(hello))
            facts = {"received": reply.data, "ending": Ending.COMPLETE if reply.data else Ending.PEER_CLOSED}
        self.answers.append(read_answer(_exchange((question.version, question.variant), **facts)))
        return reply_key(facts["received"], facts["ending"], facts.get("os_error"))

    def walk(self, steps):
        step = steps.begin
        while step.question is not None and not step.is_for_engine:
            key = self.ask(step.question)
            step = step.after.get(key) or steps.add(step, key, self.answers)
        return step


NEW = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})
SERVERS = {
    "modern": Honest(enabled=NEW, refusals=OPENSSL_LIKE),
    "old": Honest(enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_2}), refusals=OPENSSL_LIKE),
    "all": Honest(enabled=frozenset(ALL_VERSIONS)),
    "40": Honest(enabled=NEW, refusal=HANDSHAKE_FAILURE),
    "mute": Honest(enabled=frozenset(), refusal=Reply()),
}


@pytest.mark.parametrize("walks_down", [False, True])
@pytest.mark.parametrize("name", SERVERS)
def test_steps_ask_what_the_ladder_would(name, walks_down):
    steps = Steps(PlanMemory(confirm=frozenset(), walks_down=walks_down))
    last = None
    for turn in range(3):
        host = _Host(SERVERS[name])
        step = host.walk(steps)
        for at, question in enumerate(host.asked):
            batch = plan_next(host.answers[:at], confirm=frozenset(), walks_down=walks_down)
            assert batch.questions == (question,)
            assert batch.pause_s == 0
        batch = plan_next(host.answers, confirm=frozenset(), walks_down=walks_down)
        if not step.is_for_engine:
            assert batch is None
        assert step.enabled == {answer.accepted for answer in host.answers} - {None}
        # An SSLv2 reply has no key.
        assert step.is_remembered == (TlsVersion.SSL2 not in step.enabled)
        assert turn == 0 or (step is last) == step.is_remembered
        last = step


def test_modern_server_is_finished_by_the_steps():
    host = _Host(SERVERS["modern"])
    step = host.walk(Steps(PlanMemory(confirm=frozenset())))
    assert step.question is None
    assert not step.is_for_engine
    assert step.enabled == NEW


def test_trouble_is_a_failure_where_the_same_question_was_answered_well():
    ok = read_answer(_exchange((TlsVersion.TLS1_2, HelloVariant.BROAD), HELLO_12))
    reset = read_answer(_exchange((TlsVersion.TLS1_2, HelloVariant.BROAD), b"", ending=Ending.PEER_RESET))
    other = read_answer(_exchange((TlsVersion.TLS1_2, HelloVariant.COMPACT), b"", ending=Ending.PEER_RESET))
    assert ok.kind is AnswerKind.ACCEPTED
    assert is_trouble([ok, reset])
    assert not is_trouble([reset])
    assert not is_trouble([ok, other])
    assert not is_trouble([reset, ok])


def test_nothing_is_remembered_after_what_has_no_key():
    steps = Steps(PlanMemory(confirm=frozenset()))
    begun = steps.begin
    answer = read_answer(_exchange((TlsVersion.TLS1_2, HelloVariant.BROAD), HELLO_12))
    odd = steps.add(begun, None, [answer])
    assert not odd.is_remembered
    assert begun.after == {}
    after = steps.add(odd, "key", [answer, answer])
    assert not after.is_remembered
    assert odd.after == {}


def test_steps_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_STEPS", 3)
    steps = Steps(PlanMemory(confirm=frozenset()))
    answer = read_answer(_exchange((TlsVersion.TLS1_2, HelloVariant.BROAD), HELLO_12))
    made = [steps.add(steps.begin, number, [answer]) for number in range(5)]
    assert [step.is_remembered for step in made] == [True, True, False, False, False]
    assert len(steps.begin.after) == 2


def test_times_do_not_matter_to_the_test_itself():
    one = _exchange((TlsVersion.TLS1_2, HelloVariant.BROAD), HELLO_12, at=datetime(2026, 1, 1, tzinfo=UTC))
    assert read_answer(one).at.year == 2026
    assert not _say_the_same(HELLO_12, wire.encode_alert(40))

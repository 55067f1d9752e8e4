"""The ladder and the decision table against thousands of simulated servers (model_server.py).

The first property is the reason for this program: whatever a server and the way to it do, nothing that is on is called
off, and nothing that is off is called on.
"""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.answers import AnswerKind
from scanner.model.evidence import Gap, GapReason, State
from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.probes.hello_ladder import FIRST_ROUND, MOST_QUESTIONS, Batch, Question, hello_conversation, plan_next
from scanner.tls.hello import offered_suites
from tests.hostile import wire
from tests.probes.model_server import (
    CAMELLIA_ONLY,
    CHACHA_DRAFT_ONLY,
    COMMON,
    EXPORT_ONLY,
    PSK_ONLY,
    REFUSALS,
    SSL2_REFUSALS,
    TLS13,
    TLS13_CCM8,
    Backend,
    Fate,
    Way,
    alert,
    climb,
    truth,
)

ALL_SETS = [
    frozenset(version for place, version in enumerate(ALL_VERSIONS) if bits >> place & 1) for bits in range(1, 64)
]
MOST_IN_ORDINARY_CASE = 12
RATE_FATES = (Fate.RESET, Fate.FIN, Fate.SILENCE, Fate.REFUSED)

version_sets = st.sets(st.sampled_from(ALL_VERSIONS), min_size=1).map(frozenset)
refusals = st.dictionaries(st.sampled_from(ALL_VERSIONS), st.sampled_from(list(SSL2_REFUSALS.values())))
seeds = st.integers(0, 2**32)
plain_backends = st.builds(Backend, enabled=version_sets, refusals=refusals)
odd_backends = st.builds(
    Backend,
    enabled=version_sets,
    refusals=refusals,
    suites=st.sampled_from([COMMON, COMMON, PSK_ONLY, EXPORT_ONLY, CAMELLIA_ONLY, CHACHA_DRAFT_ONLY]),
    suites_13=st.sampled_from([TLS13, TLS13, TLS13_CCM8]),
    no_suite=st.sampled_from(
        [alert(40), alert(40), alert(71), alert(80), alert(47), Fate.FIN, Fate.RESET, Fate.SILENCE]
    ),
    answers_lower=st.booleans(),
    has_sentinel=st.booleans(),
    is_always_retrying=st.booleans(),
    has_ssl2_ciphers=st.booleans(),
    needs_scsv=st.booleans(),
    most_suites=st.sampled_from([None, None, 150]),
    most_bytes=st.none() | st.just(300) | st.integers(100, 1500),
    is_dead_zone_dropped=st.booleans(),
    size_fate=st.sampled_from([Fate.RESET, Fate.FIN, Fate.SILENCE]),
)
simulation = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def wrong(way, found):
    """Return the versions judged against the truth."""
    return [
        (version.label, state)
        for version, state in found.states().items()
        if state is not State.UNKNOWN and (state is State.ENABLED) is not truth(way.backends, version)
    ]


def unknown(found):
    return {version for version, state in found.states().items() if state is State.UNKNOWN}


def check(way, *, confirm=ALL_VERSIONS):
    """Return the climb in the usual order; the polite one is held to the same rules."""
    check_one(replace(way), confirm=confirm, walks_down=True)
    return check_one(way, confirm=confirm)


def check_one(way, *, confirm, walks_down=False):
    found = climb(way, confirm=confirm, walks_down=walks_down)
    assert found.count <= MOST_QUESTIONS
    assert not wrong(way, found), found.shown()
    assert set(found.states()) == set(ALL_VERSIONS)
    silent = {a.version for a in found.answers} - {a.version for a in found.answers if a.kind is not AnswerKind.SILENT}
    assert not {v for v in silent if found.states()[v] is State.DISABLED and v not in lower_answered(found)}
    return found


def lower_answered(found):
    return {a.version for a in found.answers if a.has_lower}


# The model itself


@pytest.mark.parametrize(
    ("suites", "variants"),
    [
        (COMMON, {"broad", "compact"}),
        (PSK_ONLY, {"broad", "rare"}),
        (EXPORT_ONLY, {"broad", "rare"}),
        (CAMELLIA_ONLY, {"broad", "exotic"}),
        (CHACHA_DRAFT_ONLY, {"broad", "exotic"}),
    ],
)
def test_the_models_suites_tell_the_forms_apart(suites, variants):
    hit = {variant.value for variant in HelloVariant if offered_suites(TlsVersion.TLS1_2, variant) & suites}
    assert hit == variants


def test_the_model_is_able_to_show_a_wrong_verdict():
    """A judge that said "off" after one reset would be caught: the model does give one to a version that is on."""
    way = Way(backends=[Backend(enabled=frozenset({TlsVersion.TLS1_2}))], noise=1.0, noise_fates=(Fate.RESET,))
    found = climb(way)
    assert {answer.kind for answer in found.answers} == {AnswerKind.RESET}
    assert unknown(found) == set(ALL_VERSIONS)


# (a) and (b): never wrong, always ends


@given(backend=plain_backends, confirm=st.sampled_from([(), ALL_VERSIONS]))
@simulation
def test_honest_servers_are_never_misjudged(backend, confirm):
    check(Way(backends=[backend]), confirm=confirm)


@given(backend=odd_backends, confirm=st.sampled_from([(), ALL_VERSIONS]))
@settings(simulation, max_examples=1500)
def test_odd_servers_are_never_misjudged(backend, confirm):
    """Few suites, limits on length and number of suites, odd groups, odd refusals, in any combination."""
    check(Way(backends=[backend]), confirm=confirm)


@given(
    backend=st.one_of(plain_backends, odd_backends),
    seed=seeds,
    count=st.integers(1, 20),
    window_s=st.sampled_from([1.0, 5.0, 60.0]),
    fate=st.sampled_from(RATE_FATES),
)
@simulation
def test_rate_limits_are_never_taken_for_versions(backend, seed, count, window_s, fate):
    """Facts: four scanners read a rate limit as "disabled"."""
    check(Way(backends=[backend], seed=seed, rate_count=count, rate_window_s=window_s, rate_fate=fate))


@given(backend=st.one_of(plain_backends, odd_backends), dies_after=st.integers(0, 30))
@simulation
def test_listener_that_dies_is_never_misjudged(backend, dies_after):
    found = check(Way(backends=[backend], dies_after=dies_after))
    assert found.count <= max(dies_after, 2) + 10, "nobody is asked for long who is not there"


@given(backend=plain_backends, version=st.sampled_from(ALL_VERSIONS), fate=st.sampled_from(RATE_FATES))
@simulation
def test_intrusion_prevention_is_never_taken_for_versions(backend, version, fate):
    """One version's hello gets us blocked for a minute; all that follows meets the block."""
    check(Way(backends=[backend], blocks_after_version=version, block_fate=fate))


@given(backend=plain_backends)
@simulation
def test_one_client_at_a_time(backend):
    check(Way(backends=[backend], is_one_at_a_time=True))


@given(
    backend=plain_backends,
    refusal=st.sampled_from([alert(112), alert(40), alert(80), Fate.RESET, Fate.FIN]),
    is_first=st.booleans(),
    is_retrying=st.booleans(),
)
@simulation
def test_refused_name_says_nothing_about_versions(backend, refusal, is_first, is_retrying):
    """Only a HelloRetryRequest, an SSLv2 hello (which has no name) or alert 70 may then say anything."""
    named = Backend(
        enabled=backend.enabled,
        refusals=backend.refusals,
        name_refusal=refusal,
        is_name_checked_first=is_first,
        is_always_retrying=is_retrying,
    )
    found = check(Way(backends=[named]))
    enabled = {version for version, state in found.states().items() if state is State.ENABLED}
    assert enabled <= {TlsVersion.TLS1_3, TlsVersion.SSL2}


@given(
    backend=st.one_of(plain_backends, odd_backends),
    seed=seeds,
    noise=st.sampled_from([0.05, 0.2, 0.4]),
    fates=st.sampled_from([(Fate.FIN,), (Fate.RESET,), (Fate.SILENCE,), (Fate.FIN, Fate.RESET, Fate.SILENCE)]),
)
@settings(simulation, derandomize=True)
def test_noise_never_turns_a_version_on(backend, seed, noise, fates):
    """What noise can't do at all; what it can only do by great chance is counted below."""
    way = Way(backends=[backend], seed=seed, noise=noise, noise_fates=fates)
    found = climb(way)
    assert found.count <= MOST_QUESTIONS
    assert not [each for each in wrong(way, found) if each[1] is State.ENABLED]


def random_backend(chance):
    enabled = frozenset(version for version in ALL_VERSIONS if chance.random() < 0.5)
    styles = list(REFUSALS.values())
    return Backend(
        enabled=enabled or frozenset({TlsVersion.TLS1_2}),
        refusals={version: chance.choice(styles) for version in ALL_VERSIONS},
        no_suite=chance.choice([alert(40), alert(80), Fate.FIN, Fate.RESET]),
        suites=chance.choice([COMMON, COMMON, PSK_ONLY, CAMELLIA_ONLY]),
        is_always_retrying=chance.random() < 0.2,
        has_sentinel=chance.random() < 0.7,
    )


@pytest.mark.parametrize(
    "fates", [(Fate.FIN,), (Fate.RESET,), (Fate.FIN, Fate.RESET, Fate.SILENCE)], ids=["FIN", "RST", "any"]
)
@pytest.mark.parametrize("walks_down", [False, True])
def test_one_connection_in_five_spoiled(fates, walks_down, record_for_summary):
    """24,000 verdicts over the three, in each order: no version that is on is called off, and most are settled."""
    states = Counter()
    for seed in range(1334):
        chance = random.Random(seed)
        way = Way(backends=[random_backend(chance)], seed=seed, noise=0.2, noise_fates=fates)
        found = climb(way, confirm=chance.choice([(), ALL_VERSIONS]), walks_down=walks_down)
        assert not wrong(way, found), found.shown()
        states.update(found.states().values())
    record_for_summary(f"simulated noise of 20 % {[fate.name for fate in fates]}: {dict(states)}, none wrong")
    assert states[State.UNKNOWN] < 0.3 * states.total()


# (c): honest servers are fully settled, and cheaply


@pytest.mark.parametrize("style", ["70", "40"])
@pytest.mark.parametrize("enabled", ALL_SETS, ids=lambda enabled: "+".join(v.label for v in sorted(enabled)))
def test_ordinary_refusals_are_settled_in_twelve_connections(style, enabled):
    way = Way(backends=[Backend(enabled=enabled, refusals=dict.fromkeys(ALL_VERSIONS, REFUSALS[style]))])
    found = check(way)
    if enabled == {TlsVersion.SSL2} and style == "40":
        # SSLv2 knows no server name, so nothing shows that the name is not what is refused: unknowable.
        assert unknown(found) == set(ALL_VERSIONS) - {TlsVersion.SSL2}
        return
    assert not unknown(found), found.shown()
    assert found.count <= MOST_IN_ORDINARY_CASE, found.shown()


def test_openssl_today():
    """Facts: SSLv3 refused by 40 in a record of version 3.0, the rest by 70."""
    backend = Backend(
        enabled=frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3}),
        refusals={TlsVersion.SSL3: alert(40, record_version=0x0300)},
    )
    found = check(Way(backends=[backend]))
    assert not unknown(found)
    assert found.count == 9


def most_modern(style, **more):
    refusals = dict.fromkeys(ALL_VERSIONS, REFUSALS["70" if style == "OpenSSL" else style])
    if style == "OpenSSL":
        refusals[TlsVersion.SSL3] = alert(40, record_version=0x0300)
    return Backend(enabled=frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3}), refusals=refusals, **more)


@pytest.mark.parametrize(
    ("style", "polite", "usual"),
    [("70", 6, 6), ("OpenSSL", 7, 8), ("40", 11, 11), ("71", 11, 11), ("80", 15, 15), ("FIN", 35, 35), ("RST", 35, 35)],
)
def test_connections_of_the_polite_order(style, polite, usual):
    """To a server with TLS 1.2 and 1.3, by hellos alone. Fewer were unsound: see test_hole_that_is_refused_in_words."""
    way = Way(backends=[most_modern(style)])
    counts = [climb(replace(way), confirm=(), walks_down=walks_down).count for walks_down in (True, False)]
    assert counts == [polite, usual]


@pytest.mark.parametrize("enabled", ALL_SETS, ids=lambda enabled: "+".join(v.label for v in sorted(enabled)))
def test_the_polite_order_never_needs_more(enabled):
    for style in ("70", "40"):
        way = Way(backends=[Backend(enabled=enabled, refusals=dict.fromkeys(ALL_VERSIONS, REFUSALS[style]))])
        usual, polite = (climb(replace(way), walks_down=walks_down) for walks_down in (False, True))
        assert polite.count <= usual.count
        assert polite.states() == usual.states()


@pytest.mark.parametrize("walks_down", [False, True])
@pytest.mark.parametrize("enabled", ALL_SETS, ids=lambda enabled: "+".join(v.label for v in sorted(enabled)))
def test_hole_that_is_refused_in_words(enabled, walks_down):
    """GnuTLS 3.7, Botan 2.19: 70 to a hello for a version in the hole, although a lower one is there."""
    way = Way(backends=[Backend(enabled=enabled, answers_lower=False)])
    found = climb(way, walks_down=walks_down)
    assert not wrong(way, found), found.shown()


@pytest.mark.parametrize("walks_down", [False, True])
@given(backend=odd_backends, at=st.integers(0, 12))
@settings(simulation, max_examples=200)
def test_scan_that_is_stopped_says_nothing_of_what_it_did_not_ask(walks_down, backend, at):
    way = Way(backends=[backend])
    found = climb(way, confirm=(), walks_down=walks_down)
    cut = replace(found, exchanges=found.exchanges[:at], answers=found.answers[:at])
    assert not wrong(way, cut), cut.shown()
    heard_of = {answer.version for answer in cut.answers} | {answer.accepted for answer in cut.answers}
    assert {version for version, state in cut.states().items() if state is not State.UNKNOWN} <= heard_of


def test_rustls():
    """Facts: TLS 1.0 and 1.1 refused by 40, TLS 1.2 by 70, SSLv2 by 40 or 50."""
    backend = Backend(
        enabled=frozenset({TlsVersion.TLS1_3}),
        refusals=dict.fromkeys((TlsVersion.SSL2, TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1), alert(40)),
    )
    assert not unknown(check(Way(backends=[backend])))


# (d) silence, (e) wordless refusals


@given(enabled=version_sets, backend=odd_backends)
@simulation
def test_silence_never_disables(enabled, backend):
    """But for the version it answers with a lower one, which is not silence."""
    quiet = Backend(enabled=enabled, refusals=dict.fromkeys(ALL_VERSIONS, Fate.SILENCE), answers_lower=False)
    found = check(Way(backends=[quiet]))
    assert {v for v, state in found.states().items() if state is State.DISABLED} == set()
    assert {v for v, state in found.states().items() if state is State.ENABLED} == enabled
    gaps = {item.reason for item in found.evidence() if isinstance(item, Gap)}
    assert gaps <= {GapReason.SILENT}


@pytest.mark.parametrize("style", ["RST", "FIN", "71", "47", "50", "10", "0 warning"])
@pytest.mark.parametrize("enabled", [each for each in ALL_SETS if each != {TlsVersion.SSL2}], ids=str)
def test_single_ambiguous_refusals_are_settled(style, enabled):
    way = Way(backends=[Backend(enabled=enabled, refusals=dict.fromkeys(ALL_VERSIONS, REFUSALS[style]))])
    assert not unknown(check(way))


def test_alert_112_is_never_a_refusal_of_a_tls_version():
    backend = Backend(
        enabled=frozenset({TlsVersion.TLS1_2}), refusals=dict.fromkeys(ALL_VERSIONS, alert(112)), answers_lower=False
    )
    found = check(Way(backends=[backend]))
    assert not {TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.SSL3} - unknown(found)


@pytest.mark.parametrize("limit", [300, 600, 1000])
@pytest.mark.parametrize("fate", [Fate.RESET, Fate.SILENCE, Fate.FIN])
def test_boxes_that_stop_long_hellos(limit, fate):
    """All that is on is found by the short form; nothing that is on is called off."""
    backend = Backend(
        enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_2, TlsVersion.TLS1_3}), most_bytes=limit, size_fate=fate
    )
    found = check(Way(backends=[backend]))
    assert {v for v, state in found.states().items() if state is State.ENABLED} == backend.enabled


def test_odd_suites_are_found_without_long_hellos():
    """A PSK-only server that answers decode_error to more than 150 suites, as wolfSSL."""
    backend = Backend(enabled=frozenset({TlsVersion.TLS1_2}), suites=PSK_ONLY, most_suites=150)
    assert check(Way(backends=[backend])).states()[TlsVersion.TLS1_2] is State.ENABLED


@pytest.mark.parametrize("confirm", [ALL_VERSIONS, ()])
def test_rate_limit_of_ten_in_five_seconds_is_outwaited(confirm):
    backend = Backend(
        enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_2}), refusals=dict.fromkeys(ALL_VERSIONS, alert(40))
    )
    found = check(Way(backends=[backend], rate_count=10), confirm=confirm)
    assert not unknown(found), found.shown()


# Several machines behind one address: a known limit, kept from being worse than it is


@pytest.mark.parametrize("walks_down", [False, True])
def test_machines_that_contradict_each_other_are_noticed(walks_down):
    """Met in turn, one accepts what the other refused in words: what was refused once no longer counts."""
    new = Backend(enabled=frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3}))
    old = Backend(enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.TLS1_2}))
    judged = Counter()
    for seed in range(300):
        way = Way(backends=[new, old], is_random_balance=True, seed=seed)
        judged.update(
            version.label for version, state in wrong(way, climb(way, walks_down=walks_down)) if state is State.ENABLED
        )
    assert not judged


def test_the_polite_order_misses_no_more_of_machines_that_differ(record_for_summary):
    """The known limit of docs/method.md is the same in either order, give or take a tenth."""
    missed = Counter()
    for walks_down in (False, True):
        for seed in range(600):
            chance = random.Random(seed)
            backends = [Backend(enabled=frozenset(v for v in ALL_VERSIONS if chance.random() < 0.5)) for _ in range(2)]
            way = Way(backends=backends, is_random_balance=True, seed=seed)
            judged = wrong(way, climb(way, confirm=(), walks_down=walks_down))
            assert not [each for each in judged if each[1] is State.ENABLED]
            missed[walks_down] += len(judged)
    record_for_summary(f"two machines that differ, 3600 verdicts: {missed[False]} missed, politely {missed[True]}")
    assert missed[True] <= 1.1 * missed[False]


# The plan itself


def test_first_question_is_the_likeliest():
    assert plan_next([], confirm=ALL_VERSIONS) == Batch((Question(TlsVersion.TLS1_2, HelloVariant.BROAD),))
    assert sorted(FIRST_ROUND) == list(ALL_VERSIONS)


@pytest.mark.parametrize("fate", [Fate.REFUSED])
def test_closed_port_is_asked_once(fate):
    assert climb(Way(backends=[Backend(enabled=frozenset({TlsVersion.TLS1_2}))], dies_after=0)).count == 1


def test_other_protocol_is_asked_twice():
    backend = Backend(enabled=frozenset({TlsVersion.TLS1_2}), name_refusal=REFUSALS["HTTP"], is_name_checked_first=True)
    found = climb(Way(backends=[backend]))
    assert found.count == 2
    assert {item.reason for item in found.evidence() if isinstance(item, Gap)} <= {
        GapReason.NOT_TLS,
        GapReason.NOT_ASKED,
    }


def test_silent_host_is_asked_together():
    """Waiting for each of six time-outs in turn would take half a minute."""
    way = Way(backends=[Backend(enabled=frozenset({TlsVersion.TLS1_2}))], noise=1.0, noise_fates=(Fate.SILENCE,))
    found = climb(way)
    assert found.count <= 18
    second = plan_next(found.answers[:1], confirm=ALL_VERSIONS)
    assert second is not None
    assert len(second.questions) == 5


@given(answers=st.data(), backend=odd_backends, seed=seeds)
@settings(max_examples=100, deadline=None)
def test_the_plan_is_pure(answers, backend, seed):
    found = climb(Way(backends=[backend], seed=seed, noise=0.2))
    at = answers.draw(st.integers(0, found.count))
    assert plan_next(found.answers[:at], confirm=ALL_VERSIONS) == plan_next(
        list(found.answers[:at]), confirm=ALL_VERSIONS
    )


def test_every_version_is_confirmed_once():
    found = climb(Way(backends=[Backend(enabled=frozenset(ALL_VERSIONS))]))
    handshakes = [answer.version for answer in found.answers if answer.variant is None]
    assert sorted(handshakes) == list(ALL_VERSIONS)
    assert all(answer.is_completed for answer in found.answers if answer.variant is None)
    unconfirmed = climb(Way(backends=[Backend(enabled=frozenset(ALL_VERSIONS))]), confirm=())
    assert not [answer for answer in unconfirmed.answers if answer.variant is None]


# The conversation


def converse(hello, pieces, *, does_retry=False):
    """Return what was sent, and how many pieces were read."""
    conversation = hello_conversation(hello, does_retry=does_retry)
    sent = [next(conversation)]
    for count, piece in enumerate(pieces, 1):
        try:
            sent.append(conversation.send(piece))
        except StopIteration:
            return [each for each in sent if each], count
    return [each for each in sent if each], None


HELLO = wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello(0x0303, 0x002F))


def test_conversation_sends_once_and_stops_at_the_answer():
    pieces = [HELLO[at : at + 1] for at in range(len(HELLO))]
    assert converse(b"hello", [*pieces, b"more"]) == ([b"hello"], len(HELLO))
    assert converse(b"hello", [wire.encode_alert(40)]) == ([b"hello"], 1)
    assert converse(b"hello", [HELLO[:20], b""]) == ([b"hello"], 2)
    assert converse(b"hello", [HELLO[:20]]) == ([b"hello"], None)


# docs/method.md

METHOD = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "style", ["70", "40", "71", "47", "50", "10", "0 warning", "80", "FIN", "RST", "silence", "112"]
)
def test_method_page_has_the_most_connections(style):
    """The page's table is recomputed: over every version set but SSLv2 alone."""
    most = dict.fromkeys(range(1, 7), 0)
    modern = {TlsVersion.TLS1_2, TlsVersion.TLS1_3}
    old = {TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.TLS1_2}
    counts, unsettled = {}, 0
    for enabled in ALL_SETS:
        if enabled == {TlsVersion.SSL2}:
            continue
        way = Way(backends=[Backend(enabled=enabled, refusals=dict.fromkeys(ALL_VERSIONS, REFUSALS[style]))])
        found = check(way)
        counts[enabled] = found.count
        most[len(enabled)] = max(most[len(enabled)], found.count)
        unsettled += bool(unknown(found))
    row = [*most.values(), counts[frozenset(modern)], counts[frozenset(old)], unsettled]
    assert f"| {style} | {' | '.join(map(str, row))} |" in METHOD, row

"""A host that is filled into the form of its like has, byte for byte, the text that judging it gives."""

import functools
import itertools
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner import certificates, forms
from scanner.forms import Forms
from scanner.model.exchange import Ending, EngineReport, HelloVariant, Probe
from scanner.model.subjects import Role
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.policy import read_policy
from scanner.results import judge_to_json
from scanner.tls.hello import variants_for
from scanner.trust_stores import read_trust_store
from tests import test_certificates
from tests.kinds_of_hosts import AT, QUESTIONS, RUN, SERVICES, exchange, of_each_kind, record
from tests.test_certificates import Authority

POLICIES = [read_policy("entra-drs"), read_policy("strict")]
POLICY = POLICIES[0]
# Names of one length, as the length of a hello may be judged.
HOSTS = {
    "IPv4": [("192.0.2.1", "192.0.2.1"), ("198.51.100.200", "198.51.100.200"), ("8.8.8.8", "8.8.8.8")],
    "IPv6": [("2001:db8::1", "2001:db8::1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"), ("::2", "::2")],
    "name": [("a.example", "192.0.2.1"), ("b.example", "203.0.113.77"), ("c.example", "192.0.2.3")],
    "name to IPv6": [("a.example", "2001:db8::1"), ("b.example", "2001:db8::2"), ("c.example", "::3")],
}
TIMES = [AT, datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC)]


def _us(made):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [(exchange.started_at - epoch) // timedelta(microseconds=1) for exchange in made.exchanges]


@pytest.fixture
def judged_count(monkeypatch):
    """How many hosts were judged, in a list."""
    counts = [0]

    def judge(*args, **options):
        counts[0] += 1
        return judge_to_json(*args, **options)

    monkeypatch.setattr(forms, "judge_to_json", judge)
    return counts


def _like(kind):
    """The hosts of HOSTS[kind], of every kind of answer: [[first, second, third], ...]."""
    groups = [
        of_each_kind(*names, at=at, seed=seed)
        for seed, (names, at) in enumerate(zip(HOSTS[kind], TIMES, strict=True), start=1)
    ]
    return list(zip(*groups, strict=True))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.id)
@pytest.mark.parametrize("kind", HOSTS)
def test_a_third_host_of_a_kind_is_filled_in_and_is_as_if_judged(kind, policy, judged_count):
    judging = Forms(RUN, policy)
    for like in _like(kind):
        begun = judged_count[0]
        for position, made in enumerate(like):
            assert judging.judge(position, made) == judge_to_json(RUN, made, policy, position=position)
        # The first is judged, the second twice; the third is not.
        assert judged_count[0] - begun == 3


@pytest.mark.parametrize("kind", ["IPv4", "IPv6"])
def test_a_host_known_by_its_key_is_not_even_made(kind, judged_count):
    judging = Forms(RUN, POLICY)
    for key, like in enumerate(_like(kind)):
        begun = judged_count[0]
        made_count = 0
        for position, made in enumerate(like):

            def make(made=made):
                nonlocal made_count
                made_count += 1
                return made

            text = made.target.host if key % 2 else "192.0.2.0/24"
            made = replace(made, target=replace(made.target, text=text))  # noqa: PLW2901 - the same host
            filled = judging.fill(position, key, made.target.host, _us(made), lambda made=made, make=make: make(made))
            assert filled == judge_to_json(RUN, made, POLICY, position=position)
        assert (judged_count[0] - begun, made_count) == (3, 2)


def test_a_key_is_for_one_family_of_addresses(judged_count):
    judging = Forms(RUN, POLICY)
    for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.3", "2001:db8::3"):
        made = record(host, host, (443,), text="all")
        assert judging.fill(0, "key", host, _us(made), lambda made=made: made).json == (
            judge_to_json(RUN, made, POLICY, position=0).json
        )
    assert judged_count[0] == 6


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=st.lists(
        st.sampled_from(ALL_VERSIONS).flatmap(
            lambda version: st.tuples(
                st.sampled_from(sorted(SERVICES)), st.just(version), st.sampled_from(variants_for(version))
            )
        ),
        max_size=30,
    ),
    kind=st.sampled_from(sorted(HOSTS)),
    policy=st.sampled_from(POLICIES),
    options=st.fixed_dictionaries(
        {
            "is_from_range": st.booleans(),
            "stopped": st.sampled_from([None, "interrupted", "out-of-time"]),
            "text": st.text(max_size=5),
        }
    ),
)
def test_whatever_was_answered(asked, kind, policy, options):
    # Each port stands for a service here: so one host may have any of them, and each answers as it likes.
    ports = tuple(dict.fromkeys(port for port, _, _ in asked)) or (443,)
    judging = Forms(RUN, policy)
    for seed, (names, at) in enumerate(zip(HOSTS[kind], TIMES, strict=True)):
        made = record(*names, ports, questions=asked, at=at, seed=seed, **options)
        direct = judge_to_json(RUN, made, policy, position=seed)
        assert judging.judge(seed, made) == direct
        filled = judging.fill(seed, "key", made.endpoints[0].address, _us(made), lambda made=made: made)
        assert filled == direct


@pytest.mark.parametrize("shape", ["same", "back", "shuffled"])
def test_exchanges_in_another_order_of_time_are_judged(shape, judged_count):
    judging = Forms(RUN, POLICY)
    port = 446
    for seed, host in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")):
        made = record(host, host, (port,), seed=seed, text="all")
        if seed == 3:
            times = [each.started_at for each in made.exchanges]
            times = {
                "same": times[:1] * len(times),
                "back": times[::-1],
                "shuffled": random.Random(1).sample(times, len(times)),
            }[shape]
            exchanges = [replace(each, started_at=at) for each, at in zip(made.exchanges, times, strict=True)]
            made = replace(made, exchanges=tuple(exchanges))
        direct = judge_to_json(RUN, made, POLICY, position=seed)
        assert judging.judge(seed, made) == direct
        assert judging.fill(seed, "key", host, _us(made), lambda made=made: made) == direct
    # Three for the form, by either way in, and one each for the last host.
    assert judged_count[0] == 8


def test_how_endpoints_take_turns_does_not_matter_to_the_times(judged_count):
    # Exchanges of two endpoints run side by side: the later one in the record may have begun earlier.
    judging = Forms(RUN, POLICY)
    for seed, host in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.3")):
        questions = [(port, *question) for port in (443, 444) for question in QUESTIONS]
        made = record(host, host, (443, 444), seed=seed, text="all", questions=questions)
        half = len(made.exchanges) // 2
        times = [each.started_at for each in made.exchanges]
        shifted = times if seed < 2 else times[half:] + times[:half]
        exchanges = [replace(each, started_at=at) for each, at in zip(made.exchanges, shifted, strict=True)]
        made = replace(made, exchanges=tuple(exchanges))
        assert judging.fill(seed, "key", host, _us(made), lambda made=made: made) == (
            judge_to_json(RUN, made, POLICY, position=seed)
        )
    assert judged_count[0] == 3


@pytest.mark.parametrize("odd", ["\ue0f0h\ue0f1", "\ue0f0a\ue0f1", "0001-01-01T00:00:00.000001+00:00", '"\\', "\ud800"])
@pytest.mark.parametrize("member", ["text", "vendor", "farm", "tags"])
def test_text_that_looks_like_a_placeholder_is_kept(member, odd):
    judging = Forms(RUN, POLICY)
    for seed, host in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")):
        made = record(host, host, (444,), seed=seed, **({"text": "x", member: (odd,) if member == "tags" else odd}))
        direct = judge_to_json(RUN, made, POLICY, position=seed)
        assert judging.judge(seed, made) == direct
        assert judging.fill(seed, "key", host, _us(made), lambda made=made: made) == direct


def _with_request(made):
    last = made.exchanges[-1]
    request = replace(last.request, probe=Probe.HTTP, version=None, variant=None, path="/")
    return replace(
        made,
        exchanges=(*made.exchanges, replace(last, request=request, engine=EngineReport(engine="e", completed=True))),
    )


def _with_hello_of_an_engine(made):
    last = replace(made.exchanges[-1], engine=EngineReport(engine="e", completed=True))
    return replace(made, exchanges=(*made.exchanges[:-1], last))


def _with_second_address(made):
    other = replace(made.endpoints[0], address="192.0.2.99")
    return replace(made, endpoints=(*made.endpoints, other))


@pytest.mark.parametrize(
    "change",
    [
        _with_request,
        _with_hello_of_an_engine,
        _with_second_address,
        lambda made: replace(made, target=replace(made.target, role=Role.ADFS)),
        lambda made: replace(made, endpoints=()),
        lambda made: replace(made, resolution=replace(made.resolution, addresses=(*made.resolution.addresses, "::1"))),
    ],
)
def test_hosts_of_which_there_is_more_to_judge_are_judged(change, judged_count):
    judging = Forms(RUN, POLICY)
    for seed in range(4):
        made = change(record("h.example", "192.0.2.1", (444,), seed=seed))
        assert judging.judge(seed, made) == judge_to_json(RUN, made, POLICY, position=seed)
    assert judged_count[0] == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, stopped="out-of-time"),
        lambda made: replace(made, target=replace(made.target, is_from_range=True)),
        lambda made: replace(made, target=replace(made.target, role=Role.PROXY)),
        lambda made: replace(made, target=replace(made.target, tags=("x",))),
        lambda made: replace(made, target=replace(made.target, vendor="F5 BIG-IP")),
        lambda made: replace(made, resolution=replace(made.resolution, cname_chain=("x.example",))),
        lambda made: replace(made, endpoints=(replace(made.endpoints[0], is_optional=True), *made.endpoints[1:])),
        lambda made: replace(made, exchanges=made.exchanges[:-1]),
        lambda made: replace(
            made, exchanges=(replace(made.exchanges[0], received=b"", ending=Ending.PEER_RESET), *made.exchanges[1:])
        ),
    ],
)
def test_what_the_judgement_depends_on_makes_another_kind(change):
    judging = Forms(RUN, POLICY)
    makes = [record(f"192.0.2.{seed}", f"192.0.2.{seed}", (444, 443), seed=seed, text="x") for seed in range(3)]
    for made in makes:
        judging.judge(0, made)
    for made in makes:
        other = change(made)
        assert judging.judge(0, other) == judge_to_json(RUN, other, POLICY, position=0)


def test_a_key_that_lies_about_the_times_is_found_out_when_the_form_is_made():
    judging = Forms(RUN, POLICY)
    for seed in range(4):
        made = record(f"192.0.2.{seed}", f"192.0.2.{seed}", (443,), seed=seed, text="x")
        wrong = [at + 1 for at in _us(made)]
        assert judging.fill(seed, "key", made.target.host, wrong, lambda made=made: made) == (
            judge_to_json(RUN, made, POLICY, position=seed)
        )


def test_kinds_are_forgotten_when_there_are_too_many(judged_count):
    judging = Forms(RUN, POLICY, most=2)
    made = [record("192.0.2.1", "192.0.2.1", (port,)) for port in (443, 444, 445)]
    for each in (made[0], made[0], made[1], made[0]):  # the last one is filled in, and so used last
        judging.judge(0, each)
    assert judged_count[0] == 4
    judging.judge(0, made[2])  # in the place of the second
    judging.judge(0, made[0])
    assert judged_count[0] == 5
    judging.judge(0, made[1])
    judging.judge(0, made[1])
    assert judged_count[0] == 8  # seen for the first time again, and then judged twice
    assert len(judging._forms) == 2


def test_bytes_that_the_program_fails_on_are_judged_one_by_one(monkeypatch, caplog):
    def fail(_exchange):
        raise RuntimeError("a bug")

    monkeypatch.setattr("scanner.classify.read_answer", fail)
    monkeypatch.setattr("scanner.forms.read_answer", fail)
    judging = Forms(RUN, POLICY)
    for seed in range(4):
        made = record("192.0.2.1", "192.0.2.1", (443,), seed=seed)
        assert judging.judge(seed, made).stopped == "failed"
    assert caplog.text.count("the program failed to judge") == 4


def test_the_variants_asked_are_of_the_kind():
    # Else the hellos of QUESTIONS would be one kind with any others.
    judging = Forms(RUN, POLICY)
    for variant in (HelloVariant.BROAD, HelloVariant.COMPACT) * 3:
        questions = [(446, version, variant) for version in ALL_VERSIONS]
        made = record("192.0.2.1", "192.0.2.1", (446,), questions=questions)
        assert judging.judge(0, made) == judge_to_json(RUN, made, POLICY, position=0)


# --- Handshakes, whose certificates are filled in.

ENDPOINTS = {
    "IPv4": [(f"192.0.2.{at}", f"192.0.2.{at}", None) for at in range(1, 6)],
    "IPv6": [(f"2001:db8::{at}", f"2001:db8::{at}", None) for at in range(1, 6)],
    "name": [(f"{at}.example.test", f"192.0.2.{at}", None) for at in range(1, 6)],
    "server name": [(f"192.0.2.{at}", f"192.0.2.{at}", "sts.example.test") for at in range(1, 6)],
}
# Within the validity of an Authority, beyond that of the leaves that are called brief, and in the minute of the first.
BEGIN = test_certificates.AT
DAYS = [BEGIN, BEGIN + timedelta(days=1), BEGIN + timedelta(seconds=7), BEGIN + timedelta(days=9), BEGIN]
COMPLETED = EngineReport(engine="nassl 5.4.0 (modern OpenSSL)", completed=True, cipher_suite="AES128-SHA")
ENABLED = {443: (TlsVersion.TLS1_2, TlsVersion.TLS1_3), 445: (TlsVersion.TLS1_0, TlsVersion.TLS1_2)}
"""Handshakes with two of the versions that SERVICES of these ports have."""


@functools.cache
def _authority():
    return Authority()


@functools.cache
def _chain(which, number):
    """A chain: of one make, but for each number another one."""
    authority = _authority()
    host = f"{number}.example.test"
    match which:
        case "own":
            return test_certificates._der(authority.leaf(host), authority.certificate)
        case "named by all":
            every = ENDPOINTS.values()
            return test_certificates._der(authority.leaf(*{name for own in every for each in own for name in each[:2]}))
        case "other name":
            return test_certificates._der(authority.leaf("other.example.test"))
        case "brief":
            return test_certificates._der(authority.leaf("sts.example.test", host, end=BEGIN + timedelta(hours=1)))
        case "other authority":
            return test_certificates._der(Authority("Other").leaf(host, "192.0.2.1"))
        case "other intermediate":
            return (_chain("own", 0)[0], *test_certificates._der(Authority(f"Nobody {number}").certificate))
        case "bad intermediate":
            return (*_chain("own", number), b"\x30\x00")
        case "many names":
            return test_certificates._der(authority.leaf(*(f"{at}.{host}" for at in range(60))))
        case "unreadable":
            return (b"no certificate: \xee\x83\xb0 %d" % number,)
        case "odd text":
            name = test_certificates._name('"\\\ue0f0c0\ue0f1\ud7ff', "0001-01-01T00:00:00.000001+00:00 \ue0f0h\ue0f1")
            return test_certificates._der(authority.leaf(host, subject=name))
        case "none":
            return ()


CHAINS = [
    "own", "named by all", "other name", "brief", "other authority", "other intermediate", "bad intermediate",
    "many names", "unreadable", "odd text", "none",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def trusting(tmp_path_factory):
    """The test's authority in one of two trust stores."""
    folder = tmp_path_factory.mktemp("stores")
    stores = []
    for name, authority in (("Windows", _authority()), ("Java", Authority("Unused"))):
        path = folder / f"{name}.pem"
        path.write_bytes(authority.certificate.public_bytes(test_certificates.serialization.Encoding.PEM))
        stores.append(read_trust_store(path, name=name, version="1"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificates, "read_trust_stores", lambda: tuple(stores))
        test_certificates._forget()
        yield
    test_certificates._forget()


def _with_handshakes(made, shakes):
    """Add handshakes with (version, engine or None, ending) to the record's first port."""
    endpoint, last = made.endpoints[0], made.exchanges[-1]
    rng = random.Random(len(shakes))
    exchanges = list(made.exchanges)
    for at, (port, version, engine, ending) in enumerate(shakes, start=1):
        endpoint = next(each for each in made.endpoints if each.port == port)
        shake = exchange(
            endpoint, version, HelloVariant.COMPACT, number=last.request.id + at,
            started_at=last.started_at + timedelta(milliseconds=at), service=SERVICES[port], rng=rng,
        )  # fmt: skip
        request = replace(shake.request, probe=Probe.HANDSHAKE, variant=None)
        exchanges.append(replace(shake, request=request, engine=engine, ending=ending))
    return replace(made, exchanges=tuple(exchanges))


def _hosts(kind, ports, shakes_of, **more):
    """Hosts at ENDPOINTS[kind] with handshakes: shakes_of(number)."""
    for number, ((host, address, name), at) in enumerate(zip(ENDPOINTS[kind], DAYS, strict=True), start=1):
        made = record(host, address, ports, at=at, seed=number, text="x", server_name=name, **more)
        yield _with_handshakes(made, shakes_of(number))


def _judge_both_ways(hosts, policy=POLICY):
    """Return the hosts' certificates as they were rendered, host by host."""
    judging = Forms(RUN, policy)
    rendered = []
    for position, made in enumerate(hosts):
        judged = judging.judge(position, made)
        test_certificates._forget()
        assert judged == judge_to_json(RUN, made, policy, position=position)
        rendered.append([endpoint["certificates"] for endpoint in json.loads(judged.json)["endpoints"]])
    return rendered


@pytest.mark.parametrize("ports", [(443,), (445, 443)])
@pytest.mark.parametrize("which", CHAINS)
@pytest.mark.parametrize("kind", ENDPOINTS)
def test_hosts_with_handshakes_are_filled_in_with_certificates_of_their_own(kind, which, ports, judged_count):
    def shakes(number):
        report = replace(COMPLETED, chain_der=_chain(which, number))
        return [(port, version, report, Ending.COMPLETE) for port in ports for version in ENABLED[port]]

    seen = _judge_both_ways(_hosts(kind, ports, shakes))
    assert judged_count[0] == 3
    lists = [each for own in seen for each in own]
    assert [len(each) for each in lists] == [0 if which == "none" else 1] * len(lists)
    if which == "unreadable":
        assert all(each["parse_error"] for [each] in lists)
    if which not in {"named by all", "other name", "other intermediate", "none"}:
        assert len({each["sha256"] for [each] in lists}) == len(seen)


def test_trust_is_that_of_the_hosts_own_name_and_time():
    def shakes(which):
        return lambda number: [
            (443, TlsVersion.TLS1_2, replace(COMPLETED, chain_der=_chain(which, number)), Ending.COMPLETE)
        ]

    def trusted(kind, which):
        seen = _judge_both_ways(_hosts(kind, (443,), shakes(which)))
        return [[trust["trusted"] for trust in each["trust"]] for [[each]] in seen]

    yes, no = [True, False], [False, False]
    assert trusted("IPv4", "named by all") == [yes] * 5
    assert trusted("name", "own") == [yes] * 5
    assert trusted("IPv4", "own") == [no] * 5
    assert trusted("name", "other authority") == [no] * 5
    # DAYS: the second and the fourth are days later.
    assert trusted("server name", "brief") == [yes, no, yes, no, yes]


def test_each_handshake_may_see_another_certificate():
    def shakes(number):
        first, second = _chain("own", number), _chain("own", number + 1)
        seen = [first, first] if number == 3 else [first, second] if number != 4 else [second, first]
        # The third handshake has the leaf of the first one, and another chain.
        seen.append((first[0],))
        versions = (TlsVersion.TLS1_2, TlsVersion.TLS1_3, TlsVersion.TLS1_2)
        return [
            (443, version, replace(COMPLETED, chain_der=chain), Ending.COMPLETE)
            for version, chain in zip(versions, seen, strict=True)
        ]

    seen = _judge_both_ways(_hosts("name", (443,), shakes))
    assert [len(own) for [own] in seen] == [2, 2, 1, 2, 2]
    assert [own[0]["chain_count"] for [own] in seen] == [2] * 5


@pytest.mark.parametrize(
    "changes",
    [
        {"completed": False},
        {"error": 'alert " \\ bad certificate'},
        {"engine": "nassl 5.4.0 (legacy OpenSSL)"},
        {"cipher_suite": "ECDHE-RSA-AES256-GCM-SHA384"},
        {"cipher_suite": None},
        {"client_certificate_requested": True},
    ],
)
def test_what_the_engine_says_makes_another_kind(changes, judged_count):
    plain = replace(COMPLETED, chain_der=_chain("own", 1))
    hosts = [
        list(
            _hosts(
                "IPv4",
                (443,),
                lambda _number, report=report: [
                    (443, TlsVersion.TLS1_2, plain, Ending.COMPLETE),
                    (443, TlsVersion.TLS1_3, report, Ending.PEER_CLOSED),
                ],
            )
        )
        for report in (plain, replace(plain, **changes))
    ]
    _judge_both_ways(itertools.chain(*zip(*hosts, strict=True)))
    assert judged_count[0] == 6


@pytest.mark.parametrize("odd", ["\ue0f0c0\ue0f1", "\ue0f0c7\ue0f1", "\ue0f0h\ue0f1"])
def test_an_error_that_looks_like_a_placeholder_is_kept(odd, judged_count):
    report = replace(COMPLETED, completed=False, error=odd)
    _judge_both_ways(_hosts("IPv4", (443,), lambda _number: [(443, TlsVersion.TLS1_2, report, Ending.COMPLETE)]))
    assert judged_count[0] == 6  # each host, and one stand-in


@pytest.mark.parametrize("ending", [Ending.PEER_RESET, Ending.TIMED_OUT_READ, Ending.REFUSED, Ending.CANCELLED])
def test_how_a_handshake_without_an_answer_ended_makes_another_kind(ending, judged_count):
    def hosts(ending, report):
        made = _hosts("IPv4", (443,), lambda _number: [(443, TlsVersion.TLS1_3, report, ending)])
        return [
            replace(each, exchanges=(*each.exchanges[:-1], replace(each.exchanges[-1], received=b""))) for each in made
        ]

    failed = replace(COMPLETED, completed=False, cipher_suite=None)
    completed = replace(failed, completed=True)
    kinds = [
        hosts(Ending.PEER_CLOSED, failed), hosts(ending, failed), hosts(ending, completed), hosts(ending, None)
    ]  # fmt: skip
    _judge_both_ways(itertools.chain(*zip(*kinds, strict=True)))
    assert judged_count[0] == 12


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(sorted(ENDPOINTS)), policy=st.sampled_from(POLICIES))
def test_whatever_the_handshakes_gave(data, kind, policy):
    ports = data.draw(st.sampled_from([(443,), (445,), (443, 446), (451,)]))
    reports = st.none() | st.builds(
        EngineReport,
        engine=st.just("nassl 5.4.0"),
        completed=st.booleans(),
        cipher_suite=st.none() | st.just("AES128-SHA"),
        client_certificate_requested=st.booleans(),
        error=st.none() | st.text(max_size=5),
    )
    asked = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(ports), st.sampled_from(ALL_VERSIONS[1:]), reports, st.sampled_from(list(Ending))
            ),
            max_size=6,
        )
    )
    chains = st.tuples(st.sampled_from(CHAINS), st.integers(1, 3))

    def shakes(_number):
        for port, version, report, ending in asked:
            chain = _chain(*data.draw(chains)) if report is not None else ()
            yield port, version, None if report is None else replace(report, chain_der=chain), ending

    questions = [(port, version, HelloVariant.BROAD) for port in ports for version in ALL_VERSIONS]
    _judge_both_ways(_hosts(kind, ports, lambda number: list(shakes(number)), questions=questions), policy)


def test_a_certificate_that_the_program_fails_on_is_judged_one_by_one(monkeypatch, caplog):
    describe = certificates.describe_chain

    def fail(chain_der, **more):
        if chain_der == _chain("own", 4):
            raise RuntimeError("a bug")
        return describe(chain_der, **more)

    monkeypatch.setattr(certificates, "describe_chain", fail)
    judging = Forms(RUN, POLICY)
    hosts = _hosts(
        "IPv4",
        (443,),
        lambda number: [(443, TlsVersion.TLS1_2, replace(COMPLETED, chain_der=_chain("own", number)), Ending.COMPLETE)],
    )
    assert [judging.judge(0, made).stopped for made in hosts] == [None, None, None, "failed", None]
    assert caplog.text.count("the program failed to judge") == 1

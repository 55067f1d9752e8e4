"""Simulated proxies of every kind on the way to a simulated listener, under noise; their bytes are written by hand."""

from dataclasses import dataclass, field

from scanner.model.exchange import Ending
from scanner.model.outbound import PathKind
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Role, Target
from scanner.model.versions import TlsVersion
from scanner.outbound.paths import judge_way, plan_path, read_passages
from scanner.outbound.proxies import judge_proxy, settled_versions
from scanner.outbound.tokens import read_name
from tests.outbound.hellos import alert_bytes, decoded, hello_bytes, server_hello_bytes
from tests.outbound.recordings import AT
from tests.outbound.ways import PROXY, arrived, name_of, question

SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
TLS_VERSIONS = (SSL3, V10, V11, V12, V13)
RUN = Run(id="r", started_at=AT, finished_at=None, is_complete=True, policy_id="p", confirm="all", tool_version="1")
KINDS = {
    "tunnel": PathKind.TUNNEL,
    "tunnel-looks-first": PathKind.TUNNEL,
    "re-encrypts": PathKind.RE_ENCRYPTS,
    "mirrors": PathKind.RE_ENCRYPTS,
    "peeks": PathKind.RE_ENCRYPTS,
    "forbids": PathKind.BLOCKED,
    "resets": PathKind.UNKNOWN,
    "silent": PathKind.UNKNOWN,
    "opens-then-silent": PathKind.UNKNOWN,
    "opens-then-closes": PathKind.UNKNOWN,
    "serves-itself": PathKind.UNKNOWN,
}
CLIENT_KEY_EXCHANGE = b"\x16\x03\x03\x00\x08\x10\x00\x00\x04" + bytes(4)
HIDDEN = b"\x17\x03\x03\x00\x35" + bytes(0x35)
OUR_VERSIONS = {None: (V10, V11, V12, V13), V12: (V12,), V10: (V10,)}
ENDINGS = {"close": Ending.PEER_CLOSED, "reset": Ending.PEER_RESET, "silent": Ending.TIMED_OUT_READ}
LISTENER_LEAF, PROXY_LEAF = (b"listener",), (b"proxy",)


@dataclass
class SimulatedProxy:
    """versions: what its own client completes, extra: what it offers besides. refuses: an alert, or how it hangs up."""

    kind: str
    versions: frozenset = frozenset({V12, V13})
    refuses: object = 70
    front: frozenset = frozenset({V10, V11, V12, V13})
    """What it accepts from clients, where it ends TLS."""

    @classmethod
    def draw(cls, chance, kind):
        low, high = sorted(chance.sample(range(6), 2))
        return cls(
            kind=kind,
            versions=frozenset(TLS_VERSIONS[low:high]),
            refuses=chance.choice([70, 70, 70, 40, 47, "close", "reset", "silent"]),
            front=chance.choice([frozenset({V10, V11, V12, V13}), frozenset({V12, V13})]),
        )

    @property
    def truth(self):
        return KINDS[self.kind]

    def state(self, version):
        """Return the truth about its own client; nothing is known of a proxy that has none."""
        if self.truth is not PathKind.RE_ENCRYPTS or self.kind == "peeks":
            return "unknown"
        return "enabled" if version in self.versions else "disabled"

    def offer(self, variant):
        """Return what its own hello offers where ours is of this form."""
        if self.kind == "mirrors" and variant is not None:
            less = [version for version in self.versions if version <= variant]
            return max(less, default=min(self.versions))
        return max(self.versions)

    def hello(self, variant, name, chance):
        ceiling = self.offer(variant)
        if ceiling is V13:
            return hello_bytes(listed=sorted(self.versions, reverse=True), name=name, random=chance.randbytes(32))
        return hello_bytes(legacy=int(ceiling), name=name, random=chance.randbytes(32))


@dataclass
class Scan:
    """What a simulated scan came to."""

    exchanges: list = field(default_factory=list)
    questions: list = field(default_factory=list)

    @property
    def passages(self):
        return read_passages(self.exchanges, PROXY)

    @property
    def way(self):
        return judge_way(self.passages)

    def states(self):
        """Return what is said of the proxy's own client, as scanner.outbound.proxies has it."""
        found = judge_proxy(RUN, self.record(), (), lambda _endpoint, _exchanges: ())
        if found is None:
            return {}
        (result,) = found.outbound
        assert found.paths[0].kind is self.way.kind
        return {verdict.version: verdict.state.value for verdict in result.verdicts}

    def record(self):
        target = Target(text="p", host=PROXY.host, role=Role.PROXY, ports=(PROXY.port,))
        return HostRecord(target=target, resolution=Resolution(), endpoints=(), exchanges=tuple(self.exchanges))


def scan(proxy, chance, *, noise=0.0):
    """Ask as scanner.proxying does, until there is nothing more to ask."""
    done = Scan()
    direct = ()
    serial = 0
    while True:
        passages = done.passages
        settled = settled_versions(passages) if judge_way(passages).kind is PathKind.RE_ENCRYPTS else {}
        asked = plan_path(passages, direct, settled)
        if asked is None:
            return done
        serial += 1
        assert serial < 1_000, "the planner does not end"
        if asked.is_direct:
            direct = (object(),)
            continue
        done.questions.append(asked)
        done.exchanges += ask(proxy, asked, serial, chance, noise=noise)


def ask(proxy, asked, serial, chance, *, noise):
    """Return both ends' exchanges of one question."""
    variant, answer = asked.variant, asked.answer
    name = name_of(serial, answer)
    ours = {"variant": variant, "answer": answer}
    if chance.random() < noise:  # the way is never opened
        ending = chance.choice([Ending.PEER_RESET, Ending.TIMED_OUT_READ, Ending.TIMED_OUT_CONNECT, Ending.REFUSED])
        return [question(serial, ending=ending, **ours)]
    if proxy.kind == "forbids":
        return [question(serial, ending=Ending.UPGRADE_DECLINED, os_error="403 Forbidden", **ours)]
    if proxy.kind in {"resets", "silent"}:
        ending = Ending.PEER_RESET if proxy.kind == "resets" else Ending.TIMED_OUT_READ
        return [question(serial, ending=ending, **ours)]
    sent = _own_hello(variant, name, chance)
    if proxy.kind in {"opens-then-silent", "opens-then-closes"}:
        ending = Ending.TIMED_OUT_READ if proxy.kind == "opens-then-silent" else Ending.PEER_CLOSED
        return [question(serial, sent=sent, ending=ending, **ours)]
    ours |= {"sent": sent}
    offered = OUR_VERSIONS[variant]
    if proxy.kind == "serves-itself":
        return [question(serial, received=_server_hello(max(offered), chance), chain=PROXY_LEAF, **ours)]
    if proxy.kind.startswith("tunnel") or proxy.kind == "peeks":
        found = _pass_on(proxy, serial, name, ours, chance)
    else:
        found = _re_encrypt(proxy, serial, name, ours, chance)
    return _spoil(found, chance, noise)


def _own_hello(variant, name, chance):
    if variant is None:
        return hello_bytes(listed=[0x0304, 0x0303, 0x0302, 0x0301], name=name, random=chance.randbytes(32))
    return hello_bytes(legacy=int(variant), name=name, random=chance.randbytes(32))


def _server_hello(version, chance):
    suite = 0x1301 if version is V13 else 0xC02F
    return server_hello_bytes(int(version), suite=suite, random=chance.randbytes(32))


def _chosen(answer, hello):
    """Return what the listener answers: the version asked for where the hello may offer it, or the highest."""
    fitting = [version for version in TLS_VERSIONS if hello.may_offer(version) is not False]
    if answer.version is None:
        return max(fitting, default=None)
    return answer.version if answer.version in fitting else None


def _pass_on(proxy, serial, name, ours, chance):
    answer, offered = ours["answer"], OUR_VERSIONS[ours["variant"]]
    version = _chosen(answer, decoded(ours["sent"]))
    made = b"" if version is None else _server_hello(version, chance)
    back = _server_hello(max(offered), chance) if proxy.kind == "peeks" else made
    went_on = HIDDEN if version is V13 else CLIENT_KEY_EXCHANGE
    chain = LISTENER_LEAF if proxy.kind != "peeks" else PROXY_LEAF
    found = [question(serial, received=back, chain=chain if back else (), **ours)]
    if proxy.kind == "tunnel-looks-first":
        look = hello_bytes(legacy=0x0303, name=name, random=chance.randbytes(32))
        answered = _server_hello(V12, chance)
        more = {"answer": answer, "version": V12, "completed": True, "chain": LISTENER_LEAF}
        found.append(arrived(serial, received=look + CLIENT_KEY_EXCHANGE, sent=answered, number=2, **more))
    more = {"answer": answer, "version": version, "completed": bool(made), "chain": LISTENER_LEAF}
    found.append(arrived(serial, received=ours["sent"] + went_on, sent=made, ending=Ending.COMPLETE, **more))
    return found


def _re_encrypt(proxy, serial, name, ours, chance):
    variant, answer = ours["variant"], ours["answer"]
    if not proxy.front & set(OUR_VERSIONS[variant]):  # no client like this is served
        return [question(serial, received=alert_bytes(70), ending=Ending.PEER_CLOSED, **ours)]
    hello = proxy.hello(variant, name, chance)
    version = _chosen(answer, decoded(hello))
    # The front answers by itself: some do so only once their own side stands.
    front = max(proxy.front & set(OUR_VERSIONS[variant]))
    is_taken = version in proxy.versions and version <= proxy.offer(variant)
    mine = question(serial, received=_server_hello(front, chance), chain=PROXY_LEAF, **ours)
    if not is_taken and chance.random() < 0.5:
        mine = question(serial, received=b"", ending=Ending.PEER_CLOSED, **ours)
    more = {"answer": answer, "version": version or answer.version, "chain": LISTENER_LEAF}
    if version is None:  # the listener's own word: protocol_version
        return [mine, arrived(serial, received=hello, sent=alert_bytes(70), error="sent alert 70 (x)", **more)]
    made = _server_hello(version, chance)
    if is_taken:
        went_on = HIDDEN if version is V13 else CLIENT_KEY_EXCHANGE
        ends = {"ending": Ending.COMPLETE, "completed": True}
        return [mine, arrived(serial, received=hello + went_on, sent=made, **ends, **more)]
    if isinstance(proxy.refuses, int):
        words = alert_bytes(proxy.refuses)
        return [
            mine,
            arrived(serial, received=hello + words, sent=made, error=f"received alert {proxy.refuses}", **more),
        ]
    return [mine, arrived(serial, received=hello, sent=made, ending=ENDINGS[proxy.refuses], **more)]


def _spoil(found, chance, noise):
    """Lose what a bad network may lose: our answer, an arrival, the end of one."""
    mine, *arrivals = found
    if chance.random() < noise:
        keep = chance.choice([0, 0, 20])
        ending = chance.choice([Ending.PEER_RESET, Ending.TIMED_OUT_READ])
        mine = question(
            mine.request.id // 10,
            variant=mine.request.version,
            answer=_answer_of(mine),
            sent=mine.sent,
            received=mine.received[:keep],
            ending=ending,
        )
    kept = []
    for each in arrivals:
        fate = chance.random()
        if fate < noise / 2:
            continue  # lost on the way, or fetched too late
        if fate < noise:
            size = chance.choice([30, len(decoded_bytes(each))])
            each = arrived(  # noqa: PLW2901  # the spoiled one takes its place
                each.request.id // 10,
                answer=_answer_of(mine),
                received=each.received[:size],
                sent=each.sent if size > 30 else b"",
                version=each.request.version,
                ending=chance.choice([Ending.PEER_RESET, Ending.TIMED_OUT_READ, Ending.PEER_CLOSED]),
                number=each.request.id % 10,
                chain=LISTENER_LEAF,
            )
        kept.append(each)
    return [mine, *kept]


def decoded_bytes(exchange):
    return exchange.received[: decoded(exchange.received).wire_bytes]


def _answer_of(mine):
    return read_name(mine.request.endpoint.server_name).answer

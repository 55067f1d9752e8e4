from scanner.importers.tls_range import Bound, settle_range, settle_unknown
from scanner.model.declared import Place
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import TlsVersion


def test_what_the_file_says_is_declared_and_the_rest_assumed():
    low = Bound(version=TlsVersion.TLS1_1, place=Place(file="a", line=3))
    got = settle_range(low, Bound(version=TlsVersion.TLS1_2), "r", {TlsVersion.TLS1_1: (GapReason.UNSUPPORTED, "g")})
    assert [(x.state, x.basis) for x in got] == [
        (State.DISABLED, Basis.DECLARED),
        (State.DISABLED, Basis.DECLARED),
        (State.DISABLED, Basis.DECLARED),
        (State.UNKNOWN, Basis.ASSUMED),
        (State.ENABLED, Basis.ASSUMED),
        (State.DISABLED, Basis.ASSUMED),
    ]
    assert [x.place.line if x.place else None for x in got] == [3, 3, 3, 3, 3, None]


def test_unknown_is_unknown_for_all_versions():
    assert {x.gap for x in settle_unknown(GapReason.TUNNEL, "r", None)} == {GapReason.TUNNEL}

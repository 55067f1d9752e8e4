"""Which legs a haproxy.cfg has and what they inherit. Expected: what HAProxy 2.6 did with such files."""

import pytest

from scanner.importers.claims import settle_claims
from scanner.importers.haproxy_legs import find_legs
from scanner.importers.haproxy_lines import read_haproxy_lines
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, SourceFile
from scanner.model.evidence import GapReason, State
from scanner.model.versions import ALL_VERSIONS

_, _, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
SHORT = {TLS1_0: "1.0", TLS1_1: "1.1", TLS1_2: "1.2", TLS1_3: "1.3"}
V26 = (2, 6, 12)
ALL = "ciphers ALL:@SECLEVEL=0"


def legs(text, folder=EMPTY_FOLDER):
    lines = read_haproxy_lines(SourceFile(name="h.cfg", data=text.encode()), V26)
    shown = []
    for draft in find_legs(lines, folder, V26).drafts:
        found = {each.version: each for each in settle_claims(draft.claims)}
        gaps = {found[version].gap for version in SHORT if found[version].gap}
        on = [label for version, label in SHORT.items() if found[version].state is State.ENABLED]
        shown.append((draft.line.place.line, gaps or " ".join(on)))
    return shown


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("defaults\n default-server ssl-min-ver TLSv1.2\nlisten l\n server s h:1 ssl\n", "1.2 1.3"),
        (f"defaults\n default-server no-tlsv13\nlisten l\n server s h:1 ssl {ALL}\n", "1.0 1.1 1.2 1.3"),
        (f"defaults\n default-server no-tlsv10\nlisten l\n server s h:1 ssl {ALL} no-tlsv13\n", "1.0 1.1 1.2"),
        (f"defaults\n default-server force-tlsv11\nlisten l\n server s h:1 ssl {ALL}\n", "1.1"),
        (f"defaults\n default-server {ALL}\nlisten l\n server s h:1 ssl\n", "1.0 1.1 1.2 1.3"),
        (
            (
                "defaults\n default-server ssl-min-ver TLSv1.2\n default-server ssl-max-ver TLSv1.2\n"
                "listen l\n server s h:1 ssl\n"
            ),
            "1.2",
        ),
        (
            (
                "defaults\n default-server ssl-min-ver TLSv1.2\nlisten l\n default-server ssl-max-ver TLSv1.2\n"
                " server s h:1 ssl\n"
            ),
            "1.2",
        ),
        (f"listen l\n server s h:1 ssl {ALL}\n default-server ssl-min-ver TLSv1.2\n", "1.0 1.1 1.2 1.3"),
        ("defaults\n default-server ssl ssl-min-ver TLSv1.2\nlisten l\n server s h:1\n", "1.2 1.3"),
        ("listen l\n server-template s 1 h:1 ssl ssl-min-ver TLSv1.2\n", "1.2 1.3"),
        (
            (
                "global\n ssl-default-server-options ssl-min-ver TLSv1.2\n"
                "defaults\n default-server ssl-min-ver TLSv1.0\n"
                f"listen l\n server s h:1 ssl {ALL}\n"
            ),
            "1.0 1.1 1.2 1.3",
        ),
        (
            (
                "global\n ssl-default-server-options no-tlsv13\ndefaults\n default-server ssl-min-ver TLSv1.1\n"
                f"listen l\n server s h:1 ssl {ALL}\n"
            ),
            "1.1 1.2 1.3",
        ),
        ("global\n ssl-default-server-ciphers ALL:@SECLEVEL=0\nlisten l\n server s h:1 ssl\n", "1.0 1.1 1.2 1.3"),
    ],
)
def test_a_server_inherits_the_ends_but_no_exclusions_from_default_server(text, measured):
    ((_, found),) = legs(text)
    assert found == measured


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        (
            "defaults A\n default-server ssl-min-ver TLSv1.2\ndefaults B\nlisten l from A\n server s h:1 ssl {ALL}\n",
            "1.2 1.3",
        ),
        (
            (
                "defaults A\n default-server ssl-min-ver TLSv1.2\ndefaults B\n default-server ssl-min-ver TLSv1.1\n"
                "listen l\n server s h:1 ssl {ALL}\n"
            ),
            "1.1 1.2 1.3",
        ),
        (
            (
                "defaults\n default-server ssl-min-ver TLSv1.2\ndefaults B\n default-server ssl-min-ver TLSv1.1\n"
                "listen l\n server s h:1 ssl {ALL}\n"
            ),
            "1.1 1.2 1.3",
        ),
        (
            "defaults A\n default-server ssl-min-ver TLSv1.2\ndefaults B from A\nlisten l from B\n server s h:1 ssl\n",
            "1.2 1.3",
        ),
        (
            "defaults\n default-server ssl-min-ver TLSv1.2\ndefaults\nlisten l\n server s h:1 ssl {ALL}\n",
            "1.0 1.1 1.2 1.3",
        ),
        (
            "listen l\n server s h:1 ssl {ALL}\ndefaults\n default-server ssl-min-ver TLSv1.2\n",
            "1.0 1.1 1.2 1.3",
        ),
    ],
)
def test_the_last_defaults_section_counts_unless_from_names_another(text, measured):
    ((_, found),) = legs(text.replace("{ALL}", ALL))
    assert found == measured


def test_a_defaults_section_that_is_not_in_the_file_is_a_gap():
    assert legs("listen l from Q\n server s h:1 ssl\n") == [(2, {GapReason.NOT_IN_FILE})]
    assert legs("listen l from Q\n server s h:1 ssl ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2\n") == [(2, "1.2")]


def test_global_options_count_for_the_lines_behind_them_only():
    bind = f"frontend f\n bind :1 ssl {ALL}\n"
    options = "global\n ssl-default-bind-options ssl-min-ver TLSv1.0\n"
    assert legs(bind + options) == [(2, "1.2 1.3")]
    assert legs(options + bind) == [(4, "1.0 1.1 1.2 1.3")]
    server = f"listen f\n server s h:1 ssl {ALL}\n"
    options = "global\n ssl-default-server-options ssl-min-ver TLSv1.2\n"
    assert legs(server + options + server) == [(2, "1.0 1.1 1.2 1.3"), (6, "1.2 1.3")]


def test_lines_without_ssl_are_no_legs():
    text = (
        "listen l\n bind :80 name ssl\n bind :81 crt /a.pem ssl-min-ver TLSv1.2\n server ssl h:1 cookie ssl\n"
        " server t h:2 check check-ssl\ndefaults\n default-server ssl\nbackend b\n server a h:1 no-ssl\n"
        "backend c\n default-server no-ssl\n server a h:1\nresolvers r\n server ssl h ssl\n"
    )
    assert legs(text) == []


def test_peers_ring_and_log_forward_have_legs_too():
    text = (
        f"peers p\n default-bind ssl ssl-min-ver TLSv1.1 {ALL}\n bind :1\n server a h:1 ssl ssl-min-ver TLSv1.2\n"
        "ring r\n server s h:1 ssl ssl-min-ver TLSv1.3\nlog-forward g\n bind :2 ssl\n"
    )
    assert legs(text) == [(3, "1.1 1.2 1.3"), (4, "1.2 1.3"), (6, "1.3"), (8, "1.2 1.3")]


def test_quic_alone_is_no_leg():
    assert legs("frontend f\n bind quic4@:443 ssl crt /a\n") == []
    assert legs("frontend f\n bind :443,quic4@:443 ssl crt /a\n") == [(2, "1.2 1.3")]


FOLDER = MemoryFolder(
    {
        "list.txt": b"# c.pem [ssl-min-ver TLSv1.3] no.example\n/c.pem\n"
        b"/c.pem [ alpn h2 ssl-min-ver TLSv1.1 ] a.example !b.example\n/d.pem [ssl-max-ver TLSv1.2]\n/e.pem [alpn h2]\n"
    },
    root="/etc/haproxy",
)


def test_limits_in_a_crt_list_hold_for_their_names_only():
    text = f"frontend f\n bind :1 ssl crt-list /etc/haproxy/list.txt {ALL}\n"
    assert legs(text, FOLDER) == [(2, "1.2 1.3"), (2, "1.1 1.2 1.3"), (2, "1.2")]
    text = f"frontend f\n bind :1 ssl crt-list /etc/haproxy/list.txt ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2 {ALL}\n"
    assert legs(text, FOLDER) == [(2, "1.0 1.1 1.2"), (2, "1.1 1.2"), (2, "1.0 1.1 1.2")]


@pytest.mark.parametrize("path", ["/etc/haproxy/list.txt", "/elsewhere/list.txt", "../list.txt", '"$LIST"', "*"])
def test_a_crt_list_that_is_missing_may_hold_limits(path):
    folder = EMPTY_FOLDER if path == "/etc/haproxy/list.txt" else FOLDER
    assert legs(f"frontend f\n bind :1 ssl crt-list {path}\n", folder) == [(2, {GapReason.INCLUDE_MISSING})]


def test_what_stands_under_an_if_is_a_gap_only_where_it_changes_something():
    maybe = "global\n.if defined(X)\n ssl-default-bind-options ssl-min-ver TLSv1.3\n.endif\n"
    assert legs(maybe + "frontend f\n bind :1 ssl\n") == [(6, {GapReason.CONDITIONAL})]
    assert legs(maybe + "frontend f\n bind :1 ssl ssl-min-ver TLSv1.2\n") == [(6, "1.2 1.3")]
    assert legs("frontend f\n.if defined(X)\n bind :1 ssl\n.endif\n") == [(3, {GapReason.CONDITIONAL})]
    assert legs(".if defined(X)\nfrontend f\n bind :1 ssl\n.endif\n bind :2 ssl\n") == [
        (3, {GapReason.CONDITIONAL}),
        (5, {GapReason.CONDITIONAL}),
    ]
    defaults = "defaults\n default-server ssl-min-ver TLSv1.2\n.if defined(X)\ndefaults\n.endif\n"
    ((_, gaps),) = legs(defaults + f"listen l\n server s h:1 ssl {ALL}\n")
    assert gaps == {GapReason.CONDITIONAL}


def test_very_many_conditions_are_one_gap():
    options = "".join(
        f".if defined(X{i})\n ssl-default-bind-options ssl-{end}-ver TLSv1.{i}\n.endif\n"
        for i in range(4)
        for end in ("min", "max")
    )
    assert legs(f"global\n{options}frontend f\n bind :1 ssl\n")[0][1] == {GapReason.CONDITIONAL}

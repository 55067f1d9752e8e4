"""The lines of one source: roles, defaults, options, and every bad line with its number and mend."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.entra import entra_endpoints
from scanner.model.subjects import Role, Target, Upgrade
from scanner.target_parser import SECTIONS, TargetRange
from scanner.targets import parse_arguments, parse_targets, render_targets


def _one(text: str) -> Target:
    parsed = parse_targets(text, source="t.txt")
    assert parsed.errors == ()
    (item,) = parsed.targets
    return item.template if isinstance(item, TargetRange) else item


@pytest.mark.parametrize(
    ("section", "role", "ports", "optional_ports"),
    [
        ("endpoints", Role.ENDPOINT, (443,), ()),
        ("adfs", Role.ADFS, (443,), (49443,)),
        ("proxies", Role.PROXY, (443,), ()),
        ("reverse-proxies", Role.REVERSE_PROXY, (443,), ()),
        ("servers", Role.SERVER, (443,), ()),
        ("ranges", Role.SERVER, (443,), ()),
    ],
)
def test_a_section_gives_role_and_ports(section, role, ports, optional_ports):
    assert section in SECTIONS
    for header in (f"[{section}]", f"  [ {section.upper()} ]  # why"):
        target = _one(f"{header}\nhost.example.com")
        assert (target.role, target.ports, target.optional_ports) == (role, ports, optional_ports)


def test_no_section_is_servers():
    assert _one("host.example.com").role is Role.SERVER


@pytest.mark.parametrize("line", ["sts.example.com:443", "sts.example.com port=443", "https://sts.example.com:443/"])
def test_given_ports_take_the_place_of_all_defaults(line):
    target = _one(f"[adfs]\n{line}")
    assert (target.ports, target.optional_ports) == ((443,), ())


def test_a_full_line():
    text = '\n[proxies]\r\n192.0.2.7 sni=p.example.com port=8443 vendor="Big \\"IP\\"" farm=f tag=a,b tag=c  # hi\r\n'
    assert _one(text) == Target(
        text='192.0.2.7 sni=p.example.com port=8443 vendor="Big \\"IP\\"" farm=f tag=a,b tag=c',
        host="192.0.2.7",
        role=Role.PROXY,
        ports=(8443,),
        server_name="p.example.com",
        vendor='Big "IP"',
        farm="f",
        tags=("a", "b", "c"),
        locator="t.txt:3",
    )


def test_the_text_of_a_target_never_holds_a_urls_query():
    assert _one("https://h.example/a?token=secret tag=x").text == "https://h.example/a tag=x"


def test_what_is_from_a_range():
    assert _one("192.0.2.0/30").is_from_range
    assert _one("[adfs]\n192.0.2.5-9 sni=s.example").is_from_range
    assert _one("[ranges]\n192.0.2.7").is_from_range
    assert not _one("[ranges]\nhost.example").is_from_range
    assert not _one("192.0.2.7").is_from_range


@pytest.mark.parametrize("cloud", ["global", "usgov", "china"])
@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_entra_endpoints_are_endpoints_in_every_section(cloud, section):
    header = f"[{section}]\n" if section else ""
    targets = parse_targets(f"{header}@Entra:{cloud.upper()} tag=x port=443,8443", source="t").targets
    assert [target.host for target in targets] == [e.name for e in entra_endpoints(cloud) if e.is_scanned]
    assert len(targets) >= 5
    for target in targets:
        assert (target.role, target.cloud, target.tags, target.ports) == (Role.ENDPOINT, cloud, ("x",), (443, 8443))


def test_entra_endpoints_use_443_by_default():
    assert {target.ports for target in parse_targets("@entra:global", source="t").targets} == {(443,)}


BAD = """\
[servers]
good.example.com
[server]
192.0.2.7/24

[adfs
host.example.com foo=1
host.example.com 443
host.example.com other.example.com
host.example.com:443 port=8443
sni=a.example.com host.example.com
https://user:hunter2@host.example.com/
user:hun ter2@proxy.example.com:3128
http://host.example.com/
@entra:moon
@entra:global sni=a.example.com
!
!host.example.com tag=x
!@entra:global
"open
192.0.2.9-5
host.example.com sni=192.0.2.7
!user:hunter2@host.example.com
"""
EXPECTED = [
    (3, "no such section", "did you mean [servers]?"),
    (4, "inside the block", "192.0.2.0/24"),
    (6, "not closed", "[servers]"),
    (7, "no such option", "sni=, port=, vendor=, farm=, tag="),
    (8, "a number after", "HOST:PORT"),
    (9, "no key=value", "one target a line"),
    (10, "given twice", "keep one"),
    (11, "begins with an option", "target first"),
    (12, "credentials", "remove"),
    (13, "credentials", "remove"),
    (14, "no TLS", "https://"),
    (15, "no such set", "@entra:global, @entra:usgov, @entra:china"),
    (16, "only tag= and port=", "remove"),
    (17, "an exclude is", "!192.0.2.7"),
    (18, "an exclude is", "!192.0.2.7"),
    (19, "as a whole", "by name"),
    (20, "not closed", "vendor="),
    (21, "backwards", "192.0.2.5-192.0.2.9"),
    (22, "RFC 6066", "DNS name"),
    (23, "credentials", "remove"),
]


def test_all_bad_lines_are_reported_at_once_with_line_and_mend():
    parsed = parse_targets(BAD, source="hosts.txt")
    assert [error.line for error in parsed.errors] == [line for line, _, _ in EXPECTED]
    for error, (line, problem, mend) in zip(parsed.errors, EXPECTED, strict=True):
        assert problem in error.problem
        assert mend in error.mend
        assert str(error).startswith(f"hosts.txt:{line}: ")
        assert problem in str(error)
        assert mend in str(error)


def test_nothing_is_accepted_from_a_source_with_an_error():
    parsed = parse_targets("good.example.com\n!192.0.2.7\nbad..name", source="t")
    assert (parsed.targets, parsed.excludes) == ((), ())


def test_a_secret_is_in_no_message():
    shown = "\n".join(map(repr, parse_targets(BAD, source="t").errors))
    assert not re.search(r"hunter2|hun|ter2", shown)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='@#/?"=!'), min_size=6))
def test_no_password_is_ever_repeated(password):
    for line in (f"https://user:{password}@h.example/", f"user:{password}@h.example", f"!https://u:{password}@h/"):
        for parsed in (parse_targets(f"[proxies]\n{line}", source="t"), parse_arguments([line])):
            assert len(parsed.errors) == 1
            assert password not in parsed.errors[0].text
            assert "credentials" in parsed.errors[0].problem


def test_plain_http_is_accepted_for_proxies_only():
    target = _one("[proxies]\nhttp://proxy.example.com:3128")
    assert (target.host, target.ports, target.role) == ("proxy.example.com", (3128,), Role.PROXY)
    assert parse_targets("[reverse-proxies]\nhttp://proxy.example.com:3128", source="t").errors


def test_lines_are_counted_as_editors_count_them():
    assert parse_targets("a.example\x0b\n\x0cb.example\n\u2028c..d", source="t").errors[0].line == 3


def test_a_byte_order_mark_and_cr_lf_do_no_harm():
    assert _one("\ufeff[adfs]\r\nsts.example.com\r\n").role is Role.ADFS


WARNED = [
    ("[adfs]\n192.0.2.7", ["t.txt:2"]),
    ("[adfs]\n192.0.2.7 sni=s.example", []),
    ("[adfs]\nsts.example", []),
    ("[adfs]\n192.0.2.7 farm=f", ["t.txt:2"]),
    ("[adfs]\n192.0.2.7 farm=f\nsts.example farm=f", []),
    ("[adfs]\n192.0.2.7 farm=f\n[servers]\nsts.example farm=f", ["t.txt:2"]),
    ("[adfs]\n192.0.2.0/29\n2001:db8::443", ["t.txt:2", "t.txt:3", "t.txt:3"]),
]


@pytest.mark.parametrize(("text", "places"), WARNED)
def test_warnings_name_their_line(text, places):
    parsed = parse_targets(text, source="t.txt")
    assert parsed.errors == ()
    assert [warning.partition(": ")[0] for warning in parsed.warnings] == places
    assert all("sni=" in warning or "brackets" in warning for warning in parsed.warnings)


def test_arguments_are_servers_but_registration_names_are_endpoints():
    arguments = [
        "host.example.com",
        "192.0.2.5 sni=sts.example.com tag=x",
        "enterpriseregistration.example.com",
        "login.microsoftonline.com",
        "evil-enterpriseregistration.example.com",
        "@entra:usgov",
    ]
    parsed = parse_arguments(arguments)
    roles = [target.role for target in parsed.targets]
    assert roles[:5] == [Role.SERVER, Role.SERVER, Role.ENDPOINT, Role.ENDPOINT, Role.SERVER]
    assert set(roles[5:]) == {Role.ENDPOINT}
    assert parsed.targets[1].server_name == "sts.example.com"
    assert {target.locator for target in parsed.targets} == {"argument"}
    assert _one("login.microsoftonline.com").role is Role.SERVER


@pytest.mark.parametrize(
    ("argument", "mend"), [("", "name a host"), ("[adfs]", "name a host"), ("targets.txt", "--file"), ("a..b", "write")]
)
def test_bad_arguments(argument, mend):
    (error,) = parse_arguments(["good.example.com", argument]).errors
    assert str(error).startswith("argument 2: ")
    assert mend in error.mend


@given(st.text())
def test_parsing_never_raises(text):
    for parsed in (parse_targets(text, source="t"), parse_arguments([text])):
        assert not (parsed.errors and parsed.targets)


_PIECES = st.sampled_from(
    [
        "[adfs]",
        "[",
        "]",
        "!",
        "@entra:global",
        "192.0.2.",
        "0/2",
        "4",
        "-9",
        ":443",
        ",",
        "::",
        "2001:db8",
        "%e",
        "/",
        "https://",
        "http://",
        "a.example",
        "*",
        '"',
        "#",
        "sni=",
        "port=",
        "tag=",
        "\\",
        "xn--",
        "ß",
        "。",
        "@",
    ]
) | st.sampled_from([" ", "\n"])


@given(st.lists(_PIECES).map("".join))
def test_parsing_never_raises_on_what_nearly_is_a_target(text):
    for parsed in (parse_targets(text, source="t.txt"), parse_arguments([text])):
        for error in parsed.errors:
            assert error.problem
            assert error.mend
            assert re.match(r"t\.txt:[0-9]+: |argument 1: |argument 1:", str(error))


# Forward proxies


@pytest.mark.parametrize(
    ("line", "proxy", "host", "ports"),
    [
        ("proxy.example.com:3128", None, "proxy.example.com", (3128,)),
        ("proxy.example.com", None, "proxy.example.com", (443,)),
        ("http://proxy.example.com:3128", Upgrade.HTTP_CONNECT, "proxy.example.com", (3128,)),
        ("HTTP://proxy.example.com:3128/", Upgrade.HTTP_CONNECT, "proxy.example.com", (3128,)),
        ("https://proxy.example.com:8443", Upgrade.HTTPS_CONNECT, "proxy.example.com", (8443,)),
        ("socks5://192.0.2.7:1081", Upgrade.SOCKS5, "192.0.2.7", (1081,)),
        ("socks5://[2001:db8::7]:1081", Upgrade.SOCKS5, "2001:db8::7", (1081,)),
        # The schemes' own ports: RFC 9110 sections 4.2.1 and 4.2.2, RFC 1928 section 3
        ("http://proxy.example.com", Upgrade.HTTP_CONNECT, "proxy.example.com", (80,)),
        ("https://proxy.example.com", Upgrade.HTTPS_CONNECT, "proxy.example.com", (443,)),
        ("socks5://proxy.example.com", Upgrade.SOCKS5, "proxy.example.com", (1080,)),
    ],
)
def test_a_proxys_url_says_how_it_is_spoken_to(line, proxy, host, ports):
    target = _one(f"[proxies]\n{line}")
    assert (target.proxy, target.host, target.ports, target.optional_ports) == (proxy, host, ports, ())
    (again,) = parse_targets(render_targets([target]), source="again").targets
    assert dataclasses.replace(again, text="", locator="") == dataclasses.replace(target, text="", locator="")


@pytest.mark.parametrize("section", ["endpoints", "adfs", "reverse-proxies", "servers", "ranges"])
def test_only_forward_proxies_are_spoken_to_before_tls(section):
    for line in ("http://h.example.com:8080", "socks5://h.example.com"):
        (error,) = parse_targets(f"[{section}]\n{line}", source="t").errors
        assert error.mend
    assert _one(f"[{section if section != 'ranges' else 'servers'}]\nhttps://h.example.com").proxy is None


@pytest.mark.parametrize(
    "line", ["ftp://p.example.com", "socks4://p.example.com", "socks5h://p.example.com", "socks5://"]
)
def test_other_ways_to_speak_to_a_proxy_are_told(line):
    parsed = parse_targets(f"[proxies]\n{line}", source="t")
    assert parsed.targets == ()
    assert len(parsed.errors) == 1


def test_a_password_in_a_proxys_url_is_not_taken_and_not_shown():
    parsed = parse_targets("[proxies]\nhttp://user:hunter2@proxy.example.com:3128", source="t")
    shown = repr(parsed) + "".join(map(str, parsed.errors))
    assert "hunter2" not in shown
    assert parsed.targets == ()
    assert len(parsed.errors) == 1

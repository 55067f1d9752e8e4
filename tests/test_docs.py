"""Documents keep up with the program: what is there is documented, and what is documented is there."""

import re
from pathlib import Path

import pytest

from scanner import __version__, listening
from scanner.entra import Cloud
from scanner.listener import ladder
from scanner.listener.limits import ListenerLimits
from scanner.model.evidence import GapReason
from scanner.model.subjects import Role
from scanner.outbound import classify, paths, results
from scanner.outbound.methods import METHODS
from scanner.policy import policy_ids
from scanner.triggers import Kind

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
ALL_TEXT = "\n".join(PAGES.values())
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _links(text):
    return re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", FENCE.sub("", text))


def _anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (REPOSITORY / page).parent
    for link in _links(PAGES[page]):
        if link.startswith("https://"):
            continue
        assert "://" not in link, link
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else REPOSITORY / page
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY)
        if anchor:
            assert anchor in _anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_documents_that_are_named_are_there(page):
    for name in re.findall(r"\bdocs/[\w-]+\.md\b", PAGES[page]):
        assert (REPOSITORY / name).is_file(), name


@pytest.mark.parametrize("page", PAGES)
def test_no_page_holds_what_is_true_on_one_machine_only(page):
    text = PAGES[page]
    assert not re.findall(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)\b", text)
    assert not re.findall(r"\b(?:10|192\.168)(?:\.\d+){2,3}\b(?!\.)", FENCE.sub("", text))
    assert "\t" not in FENCE.sub("", text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_led_to(page):
    others = [text for name, text in PAGES.items() if name != page]
    assert page == "README.md" or any(page.rpartition("/")[2] in link for text in others for link in _links(text))


def test_every_document_is_led_to_from_the_readme():
    assert {name for name in PAGES if name != "README.md"} <= {link.partition("#")[0] for link in _links(README)}


@pytest.mark.parametrize("page", PAGES)
def test_make_commands_exist(page):
    goals = set(re.findall(r"^([a-z]+):.*?## ", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", PAGES[page], re.MULTILINE)) <= goals


def test_the_readme_opens_with_the_two_commands_and_then_a_scan_of_ones_own():
    commands = re.findall(r"^(?:make|pip|entra-tls) [^\n#]*", README, re.MULTILINE)
    assert [command.strip() for command in commands][:3] == [
        "make demo",
        "make test",
        "make scan TARGETS=targets.example.txt",
    ]


def test_the_readme_is_about_this_licence():
    assert "AGPL-3.0-or-later" in README
    assert "AFFERO GENERAL PUBLIC LICENSE" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


def test_the_changelog_has_this_version():
    assert f"## [{__version__}]" in PAGES["CHANGELOG.md"]


def _exit_codes(text):
    return [int(code) for code in re.findall(r"^\| (\d+) \| ", text, re.MULTILINE)]


def test_exit_codes_are_the_same_everywhere():
    assert _exit_codes(README) == _exit_codes(PAGES["docs/cli.md"]) == [0, 1, 2, 3, 70, 130]
    for code in (0, 1, 2, 3):
        assert re.search(rf"^\t{code}\) meaning=", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_documented(role):
    assert f"| {role.value} |" in PAGES["docs/targets.md"] or f"`{role.value}`" in PAGES["docs/targets.md"]
    assert f"`{role.value}`" in PAGES["docs/roles.md"]


def test_sections_of_the_example_and_of_the_document_are_the_same():
    example = (REPOSITORY / "targets.example.txt").read_text(encoding="utf-8")
    used = set(re.findall(r"^\[([a-z-]+)\]$", example, re.MULTILINE))
    documented = set(re.findall(r"^\| `\[([a-z-]+)\]` \|", PAGES["docs/targets.md"], re.MULTILINE))
    assert used == documented
    assert len(used) == 6


@pytest.mark.parametrize("cloud", list(Cloud))
def test_every_cloud_is_documented(cloud):
    assert f"@entra:{cloud.value}" in PAGES["docs/targets.md"]


@pytest.mark.parametrize("policy_id", policy_ids())
def test_every_policy_is_documented(policy_id):
    for page in ("README.md", "docs/cli.md", "docs/policy.md"):
        assert f"`{policy_id}`" in PAGES[page] or f"--policy {policy_id}" in PAGES[page]


@pytest.mark.parametrize("reason", list(GapReason))
def test_every_reason_for_a_gap_is_explained(reason):
    assert f"| `{reason.value}` | " in PAGES["docs/json-report.md"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wordless refusals of a version by one form of hello", classify._WORDLESS_NEEDED),
        ("refusals in words where a form of hello contradicts itself", classify._WORDS_NEEDED_WHEN_INCONSISTENT),
        ("refusals in words where a client comes again with less", classify._WORDS_NEEDED_WHEN_RETRYING),
        ("hellos that show a highest version below TLS 1.2", classify._OLD_CEILINGS_NEEDED),
        (
            "seconds within which a connection may be the next try of a failed one",
            classify._RETRY_WITHIN.total_seconds(),
        ),
        ("connections with the best version before all are tried again", ladder.RESTS),
        ("a proxy's refusals to open the way, of any form of hello", paths._SPOKEN_DECLINES),
        ("questions through a proxy that bring nothing, of one kind", paths._MOST_TRIES),
        ("questions through a proxy about a version without a word", paths._MOST_TRIES_WORDLESS),
        ("names without a token told apart for one address", results.MOST_NAMES),
        ("connections of one host that are judged", listening.MOST_JUDGED),
    ],
)
def test_the_method_page_has_the_outbound_numbers(name, value):
    assert f"| {name} | {value:g} |" in PAGES["docs/method.md"]


LIMITS = ListenerLimits()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connections open at a time", LIMITS.connections),
        ("connections open at a time from one address", LIMITS.per_address),
        ("hellos answered at a time", LIMITS.answers),
        ("seconds for the whole hello", LIMITS.hello_s),
        ("seconds for the whole connection", LIMITS.whole_s),
        ("bytes kept each way", LIMITS.bytes_each_way),
        (
            "recorded a minute from one address that sends no hello",
            LIMITS.other_per_address * 60 / LIMITS.other_window_s,
        ),
        ("connections of one host that are judged", listening.MOST_JUDGED),
    ],
)
def test_the_outbound_page_has_the_listeners_bounds(name, value):
    assert f"| {name} | {value:,.0f} |" in PAGES["docs/outbound.md"]


def test_every_outbound_method_and_kind_of_trigger_is_documented():
    text = PAGES["docs/outbound.md"]
    assert [method for method in METHODS if f"`{method}`" not in text] == []
    assert [
        kind for kind in Kind if f"`{kind.value}`" not in text or f"`{kind.value}`" not in PAGES["docs/cli.md"]
    ] == []


def test_every_environment_variable_is_documented():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "scanner").rglob("*.py"))
    for name in set(re.findall(r"\bENTRA_TLS_[A-Z_]+\b", source)):
        assert f"`{name}`" in PAGES["docs/cli.md"]


def test_figures_of_speed_come_from_the_bench():
    """A page that says how fast something is says which measurement it is from."""
    for name, text in PAGES.items():
        if re.search(r"\b(?:hosts|hellos|connections)/s\b|\bhosts a second\b", text):
            assert "bench" in text.lower() or "measured" in text.lower(), name

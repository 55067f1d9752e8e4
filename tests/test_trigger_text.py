"""Plans in the three forms hold everything that is in them, and what people must know before they run anything."""

import json
import re

import pytest

from scanner.trigger_text import CONSENT, TriggerForm, render_trigger
from scanner.triggers import Kind, parse_host, parse_listener, plan_triggers

SECRET = b"correct horse battery staple, and more"
HOST = "sts.example.com"
LISTENER = "probe.example.net:8443"


def _render(form, *, listener=LISTENER, kinds=(Kind.ALL,), secret=SECRET, target=HOST):
    return render_trigger(target, listener=listener, kinds=kinds, secret=secret, form=form)


def _triggers(kinds=(Kind.ALL,)):
    return plan_triggers(parse_host(HOST), kinds, parse_listener(LISTENER), secret=SECRET)


def _flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("form", [TriggerForm.TEXT, TriggerForm.MARKDOWN])
def test_people_get_every_command_whole_and_every_sentence(form):
    text = _render(form)
    flat = _flat(text)
    for trigger in _triggers():
        for snippet in (*trigger.name_steps, *trigger.steps, *trigger.cleanup, *trigger.name_cleanup):
            assert f"\n{snippet.text}\n" in text
            assert snippet.caption in text
        for sentence in (*trigger.proves, *trigger.limits, *trigger.needs, *trigger.unverified, trigger.source):
            assert sentence in flat
        assert trigger.title in text
        assert trigger.name in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("form", TriggerForm)
def test_consent_comes_before_the_first_command(form):
    text = _render(form)
    flat = _flat(text)
    assert flat.index(CONSENT) < flat.index(_triggers()[0].title)


@pytest.mark.parametrize("form", TriggerForm)
def test_the_secret_is_not_printed(form):
    text = _render(form)
    assert SECRET.decode() not in text
    assert SECRET.hex() not in text


def test_markdown_has_each_snippet_in_a_fence_of_its_language():
    text = _render(TriggerForm.MARKDOWN)
    fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)
    assert fences[1::2] == [""] * (len(fences) // 2)
    snippets = [
        snippet.language
        for trigger in _triggers()
        for snippet in (*trigger.name_steps, *trigger.steps, *trigger.cleanup, *trigger.name_cleanup)
    ]
    assert fences[::2] == snippets


def test_json_is_the_plan():
    document = json.loads(_render(TriggerForm.JSON, kinds=[Kind.NGINX, Kind.F5]))
    assert document["host"] == HOST
    assert document["listener"] == LISTENER
    assert [each["id"] for each in document["triggers"]] == ["nginx", "f5"]
    nginx = document["triggers"][0]
    assert f"proxy_ssl_name {nginx['name']};" in nginx["steps"][0]["text"]
    assert nginx["cleanup"][0]["language"] == "shell"


def test_a_listener_with_a_name_is_led_to_by_a_wildcard_record():
    assert "*.probe.example.net" in _render(TriggerForm.TEXT)


def test_a_listener_without_a_name_needs_the_hosts_file():
    text = _render(TriggerForm.TEXT, listener="203.0.113.9", kinds=[Kind.ADFS])
    assert "wildcard DNS record" not in text
    assert re.search(r"^\$address = '203\.0\.113\.9'$", text, re.MULTILINE)


def test_names_without_proof_are_told_of():
    assert "--secret-file" in _render(TriggerForm.TEXT, secret=None)
    assert "--secret-file" not in _render(TriggerForm.TEXT)


def test_a_trigger_that_leaves_nothing_says_so():
    assert "Clean up: nothing" in _render(TriggerForm.TEXT, kinds=[Kind.WINDOWS])


@pytest.mark.parametrize(
    ("target", "listener", "what"),
    [("192.0.2.0/24", LISTENER, "target"), ("a b", LISTENER, "target"), (HOST, "x:99999", "listener")],
)
def test_what_can_not_be_used_is_named(target, listener, what):
    with pytest.raises(ValueError, match=rf"^{what}: .+; .+"):
        _render(TriggerForm.TEXT, target=target, listener=listener)

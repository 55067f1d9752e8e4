"""What is printed is safe to run, names the right host, and takes back whatever it makes."""

import re
import subprocess
from collections import Counter

import pytest
import tree_sitter
import tree_sitter_powershell
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.subjects import Role
from scanner.outbound.methods import ARRIVED, CONNECT, METHODS
from scanner.outbound.tokens import is_authentic, read_name, read_path
from scanner.target_forms import FormError
from scanner.triggers import (
    ATTEMPTS,
    COMMENT,
    Kind,
    ListenerPlace,
    choose_kinds,
    parse_host,
    parse_listener,
    plan_triggers,
)

SECRET = b"correct horse battery staple, and more"
HOSTS = ("sts.example.com", "192.0.2.7", "2001:db8::7")
LISTENERS = ("probe.example.net", "203.0.113.9:8443", "[2001:db8::9]:443")
EVERY_PLACE = [(host, listener) for host in HOSTS for listener in LISTENERS]

# Cmdlets and the parameters used, after ADFS, WebApplicationProxy, ScheduledTasks and PKI in
# MicrosoftDocs/windows-powershell-docs (winserver2022-ps), and MicrosoftDocs/PowerShell-Docs (5.1) for the others. Some
# rows of the others were written from memory: they catch a slip of ours, and are no proof of the documents.
_COMMON = {"ErrorAction"}
DOCUMENTED = {
    "Add-AdfsRelyingPartyTrust": {"Name", "MetadataUrl", "Enabled", "MonitoringEnabled", "AutoUpdateEnabled"},
    "Add-AdfsClaimsProviderTrust": {"Name", "MetadataUrl", "Enabled", "MonitoringEnabled", "AutoUpdateEnabled"},
    "Add-AdfsLocalClaimsProviderTrust": {
        "Name",
        "Identifier",
        "Type",
        "LdapServerConnection",
        "UserObjectClass",
        "UserContainer",
        "LdapAuthenticationMethod",
        "AnchorClaimLdapAttribute",
        "AnchorClaimType",
        "Enabled",
    },
    "New-AdfsLdapServerConnection": {"HostName", "Port", "SslMode", "AuthenticationMethod", "Credential"},
    "Get-AdfsRelyingPartyTrust": {"Name"},
    "Get-AdfsClaimsProviderTrust": {"Name"},
    "Get-AdfsLocalClaimsProviderTrust": {"Name"},
    "Update-AdfsRelyingPartyTrust": {"TargetName"},
    "Update-AdfsClaimsProviderTrust": {"TargetName"},
    "Remove-AdfsRelyingPartyTrust": {"TargetName", "Confirm"},
    "Remove-AdfsClaimsProviderTrust": {"TargetName", "Confirm"},
    "Remove-AdfsLocalClaimsProviderTrust": {"TargetName", "Confirm"},
    "Get-AdfsProperties": set(),
    "Set-AdfsProperties": {"MonitoringInterval"},
    "Add-WebApplicationProxyApplication": {
        "Name",
        "ExternalPreauthentication",
        "ExternalUrl",
        "ExternalCertificateThumbprint",
        "BackendServerUrl",
        "BackendServerCertificateValidation",
    },
    "Get-WebApplicationProxyApplication": set(),
    "Remove-WebApplicationProxyApplication": {"ID"},
    "New-ScheduledTaskAction": {"Execute", "Argument"},
    "New-ScheduledTaskPrincipal": {"UserId", "LogonType"},
    "Register-ScheduledTask": {"TaskName", "Action", "Principal", "Force"},
    "Start-ScheduledTask": {"TaskName"},
    "Stop-ScheduledTask": {"TaskName"},
    "Get-ScheduledTask": {"TaskName"},
    "Unregister-ScheduledTask": {"TaskName", "Confirm"},
    "Import-Certificate": {"FilePath", "CertStoreLocation"},
    "Add-Content": {"Path", "Value"},
    "Set-Content": {"Path", "Value"},
    "Get-Content": {"Path"},
    "Get-ChildItem": {"Path"},
    "Remove-Item": {"Path"},
    "Resolve-Path": {"Path"},
    "Test-Path": {"Path"},
    "Add-Type": {"AssemblyName"},
    "New-Object": {"ComObject"},
    "ConvertTo-SecureString": {"String", "AsPlainText", "Force"},
    "Invoke-WebRequest": {"Uri", "UseBasicParsing", "DisableKeepAlive", "TimeoutSec"},
    "Get-Command": {"Name", "CommandType"},
    "Get-Date": set(),
    "Read-Host": {"Prompt"},
    "Select-Object": {"First"},
    "ForEach-Object": set(),
    "Where-Object": set(),
    "Start-Sleep": {"Seconds"},
}
# What changes a machine, and what takes it back.
UNDONE_BY = {
    "Add-AdfsRelyingPartyTrust": "Remove-AdfsRelyingPartyTrust",
    "Add-AdfsClaimsProviderTrust": "Remove-AdfsClaimsProviderTrust",
    "Add-AdfsLocalClaimsProviderTrust": "Remove-AdfsLocalClaimsProviderTrust",
    "Set-AdfsProperties": "Set-AdfsProperties",
    "Set-Content": "Remove-Item",  # the saved interval
    "Add-WebApplicationProxyApplication": "Remove-WebApplicationProxyApplication",
    "Register-ScheduledTask": "Unregister-ScheduledTask",
}
UNDONE_AFTERWARDS = {"Import-Certificate": "Remove-Item", "Add-Content": "Set-Content"}
PROGRAMS = {"curl.exe", "$program", '"$env:windir\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"'}

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))


def _plan(host=HOSTS[0], listener=LISTENERS[0], kinds=(Kind.ALL,), secret=SECRET):
    return plan_triggers(parse_host(host), kinds, parse_listener(listener), secret=secret)


def _snippets(trigger):
    return (*trigger.name_steps, *trigger.steps, *trigger.cleanup, *trigger.name_cleanup)


def _nodes(node):
    yield node
    for child in node.children:
        yield from _nodes(child)


def _parse(text):
    return _PARSER.parse(text.encode()).root_node


def _text(node):
    return node.text.decode()


def _commands(node):
    """Name and parameters of each command below a node."""
    for each in _nodes(node):
        if each.type == "command":
            name = _text(each.child_by_field_name("command_name"))
            if re.fullmatch(r"[0-9]+\.\.[0-9]+", name):
                continue  # the grammar takes the range in ``foreach ($i in 1..8)`` for a command
            elements = each.child_by_field_name("command_elements")
            parts = () if elements is None else elements.children
            yield name, [_text(part) for part in parts if part.type == "command_parameter"]


def _names(node):
    return Counter(name for name, _ in _commands(node))


@pytest.mark.parametrize(("host", "listener"), EVERY_PLACE)
def test_names_and_paths_come_back_to_host_and_method(host, listener):
    triggers = _plan(host, listener)
    for trigger in triggers:
        for token in (read_name(trigger.name), read_path(trigger.path)):
            assert (token.host, token.method) == (host, trigger.method)
            assert is_authentic(token, SECRET)
            assert not is_authentic(token, b"another secret")
        # The name, or the path where no server name can be chosen, stands in what is run.
        assert any(trigger.name in snippet.text for snippet in trigger.steps)
    assert len({trigger.id for trigger in triggers}) == len(triggers)


def test_names_end_with_what_leads_to_the_listener():
    assert all(trigger.name.endswith(".probe.example.net") for trigger in _plan())
    assert all(trigger.name.endswith(".invalid") for trigger in _plan(listener="203.0.113.9"))


def test_every_method_that_people_set_off_has_a_trigger():
    assert set(METHODS) - {ARRIVED, CONNECT} == {trigger.method for trigger in _plan()}


def test_limits_and_doubts_are_those_of_the_method():
    for trigger in _plan():
        method = METHODS[trigger.method]
        assert trigger.limits == method.limits
        assert trigger.connects == method.stack
        doubted = trigger.unverified or any("not verified" in limit for limit in trigger.limits)
        assert method.is_verified or doubted or trigger.method == "clr2"


@pytest.mark.parametrize(
    ("kinds", "ids"),
    [
        ([Kind.NGINX], {"nginx"}),
        ([Kind.WINDOWS], {"iwr", "iwr32", "clr2", "winhttp", "curl"}),
        ([Kind.WAP], {"wap", "iwr", "iwr32", "winhttp", "curl"}),
        ([Kind.SQUID, Kind.F5], {"squid", "f5"}),
    ],
)
def test_only_what_was_asked_for(kinds, ids):
    assert {trigger.id for trigger in _plan(kinds=kinds)} == ids


def test_every_kind_has_triggers():
    assert all(_plan(kinds=[kind]) for kind in Kind)


@pytest.mark.parametrize(
    ("role", "vendor", "kinds"),
    [
        (Role.ADFS, None, {Kind.ADFS, Kind.WAP}),
        (Role.REVERSE_PROXY, "NGINX Plus R30", {Kind.NGINX}),
        (Role.REVERSE_PROXY, "F5 BIG-IP 17", {Kind.F5}),
        (Role.SERVER, "Windows Server 2019", {Kind.WINDOWS}),
        (Role.REVERSE_PROXY, "Apache httpd", {Kind.APACHE}),
        (Role.ENDPOINT, None, {Kind.ALL}),
        (None, "swapper", {Kind.ALL}),
    ],
)
def test_kinds_follow_product_then_role(role, vendor, kinds):
    assert set(choose_kinds(role, vendor)) == kinds


def test_a_reverse_proxy_of_an_unknown_product_gets_every_route():
    ids = {trigger.id for trigger in _plan(kinds=choose_kinds(Role.REVERSE_PROXY, "Contoso LB"))}
    assert ids >= {"wap", "nginx", "haproxy", "apache", "squid", "envoy", "f5"}
    assert "adfs-metadata" not in ids


@pytest.mark.parametrize(("host", "listener"), EVERY_PLACE)
def test_powershell_is_well_formed_and_knows_its_cmdlets(host, listener):
    checked = 0
    for trigger in _plan(host, listener):
        for snippet in _snippets(trigger):
            if snippet.language != "powershell":
                continue
            root = _parse(snippet.text)
            assert not [_text(node) for node in _nodes(root) if node.type == "ERROR" or node.is_missing]
            for name, parameters in _commands(root):
                checked += 1
                if name in PROGRAMS:
                    continue
                assert {parameter.lstrip("-").split(":")[0] for parameter in parameters} <= DOCUMENTED[name] | _COMMON
    assert checked > 100


def test_the_check_of_powershell_finds_faults():
    assert any(node.type == "ERROR" or node.is_missing for node in _nodes(_parse("try { Get-Date } finally { (1")))
    assert list(_commands(_parse("if ($x) { Get-Item -Path 'a' -Force }"))) == [("Get-Item", ["-Path", "-Force"])]


def test_whatever_powershell_makes_is_taken_back_at_once_and_by_the_clean_up():
    made = Counter()
    for trigger in _plan():
        afterwards = sum((_names(_parse(s.text)) for s in (*trigger.cleanup, *trigger.name_cleanup)), Counter())
        for snippet in (*trigger.name_steps, *trigger.steps):
            if snippet.language != "powershell":
                continue
            root = _parse(snippet.text)
            finals = [node for node in _nodes(root) if node.type == "finally_clause"]
            at_once = sum(map(_names, finals), Counter())
            for name in _names(root):
                if name in UNDONE_BY:
                    made[name] += 1
                    assert at_once[UNDONE_BY[name]], (trigger.id, name)
                    assert afterwards[UNDONE_BY[name]], (trigger.id, name)
                elif name in UNDONE_AFTERWARDS:
                    made[name] += 1
                    assert afterwards[UNDONE_AFTERWARDS[name]], (trigger.id, name)
    assert set(made) == UNDONE_BY.keys() | UNDONE_AFTERWARDS.keys()
    # Nothing else that makes or changes anything is called.
    verbs = {"Add", "Set", "Register", "Import", "Enable", "Install", "New", "Start", "Update"}
    changing = {name for name in DOCUMENTED if name.split("-")[0] in verbs}
    assert changing - made.keys() == {
        *("Add-Type", "New-Object", "New-ScheduledTaskAction", "New-ScheduledTaskPrincipal"),  # in memory
        *("New-AdfsLdapServerConnection", "Start-Sleep", "Start-ScheduledTask"),
        *("Update-AdfsRelyingPartyTrust", "Update-AdfsClaimsProviderTrust"),  # of the trust that was made
    }


def test_the_old_monitoring_interval_is_saved_before_it_is_changed_and_never_overwritten():
    (trigger,) = [each for each in _plan() if each.id == "adfs-service"]
    text = trigger.steps[-1].text
    saved, changed = text.index("Set-Content -Path $saved"), text.index("Set-AdfsProperties -MonitoringInterval 1")
    assert saved < changed
    assert text.rindex("if (-not (Test-Path -Path $saved))", 0, saved) >= 0
    assert "Set-AdfsProperties -MonitoringInterval ([int](Get-Content -Path $saved))" in text[text.index("finally") :]


def test_every_object_of_big_ip_is_deleted_users_first():
    for listener in LISTENERS:
        (trigger,) = _plan(listener=listener, kinds=[Kind.F5])
        pattern = r"^tmsh {} ltm ((?:profile )?\S+) (\S+)"
        created = re.findall(pattern.format("create"), trigger.steps[0].text, re.MULTILINE)
        deleted = re.findall(pattern.format("delete"), trigger.cleanup[0].text, re.MULTILINE)
        assert {kind for kind, _ in created} == {"node", "pool", "profile server-ssl", "virtual"}
        assert set(created) == set(deleted)
        kinds = [kind for kind, _ in deleted]
        assert kinds.index("virtual") < kinds.index("pool") < kinds.index("node")
        assert kinds.index("virtual") < kinds.index("profile server-ssl")


def test_whatever_goes_into_a_file_is_between_marks():
    for trigger in _plan():
        for snippet in trigger.steps:
            if snippet.language in {"powershell", "shell"}:
                continue
            lines = snippet.text.splitlines()
            assert (lines[0], lines[-1]) == (f"# BEGIN {COMMENT}", f"# END {COMMENT}")
            assert any(f"/# BEGIN {COMMENT}$/,/# END {COMMENT}$/d" in each.text for each in trigger.cleanup)


@pytest.mark.parametrize(("host", "listener"), EVERY_PLACE)
def test_shell_commands_are_well_formed(host, listener):
    texts = {s.text for t in _plan(host, listener) for s in _snippets(t) if s.language == "shell"}
    assert len(texts) > 10
    for text in texts:
        subprocess.run(["bash", "-n", "-c", text], check=True)


def test_no_snippet_sets_a_version_or_leaves_validation_off():
    forbidden = (
        r"(?i)ssl_protocols|sslproxyprotocol|sslprotocol|ssl-m(in|ax)-ver|force-tls|no-tls|no_tls|tls-min|tls-options"
        r"|tls_params|minimum_protocol|securityprotocol|--tlsv|--tls-max|sslv[23]\b|ciphers?\b"
        r"|ValidationCallback|CertificatePolicy|SkipCertificateCheck"
    )
    for trigger in _plan():
        for snippet in _snippets(trigger):
            assert re.search(forbidden, snippet.text) is None, trigger.id


def test_each_trigger_connects_more_often_than_there_are_versions():
    assert ATTEMPTS >= 8
    for trigger in _plan():
        if trigger.id != "adfs-service":
            counted = f"1..{ATTEMPTS})", " ".join(map(str, range(1, ATTEMPTS + 1)))
            assert any(count in snippet.text for snippet in trigger.steps for count in counted), trigger.id


HOSTILE = (
    "x.example.com; rm -rf /",
    "x.example.com'; Remove-Item C:\\",
    "x.example.com`whoami`",
    "$(reboot).example.com",
    "${env:x}.example.com",
    'x".example.com',
    "x.example.com\nRemove-Item",
    "x.example.com\r",
    "x.example.com #",
    "x.example.com|y",
    "x.example.com&y",
    "x{}.example.com",
    "x.example.com;",
    "-x.example.com",
    "--help",
    "*.example.com",
    "../../etc/passwd",
    "{{ secret }}.example.com",
    "{% raw %}",
    "fe80::1%eth0",
    "fe80::1%$(reboot)",
    "192.0.2.0/24",
    "192.0.2.1-192.0.2.9",
    "user:password@sts.example.com",
    "",
    " ",
    "\x00",
    "sts.example.com\u2028x",
    "sts.example.com'",
    "sts.example.com\u2019",
)
_HARMLESS = re.compile(r"[a-z0-9_][a-z0-9._-]*|[0-9a-f:.]+")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_host(text)
    with pytest.raises(ValueError, match=r"."):
        parse_listener(text)


@pytest.mark.parametrize("text", [text for text in HOSTILE if not re.fullmatch(r"[a-z0-9._-]+", text)])
def test_what_was_not_parsed_is_checked_all_the_same(text):
    with pytest.raises(ValueError, match=r"."):
        ListenerPlace(host=text, port=443)
    with pytest.raises(ValueError, match=r"."):
        plan_triggers(text, [Kind.ALL], ListenerPlace(host="probe.example.net", port=443), secret=None)


@given(st.text(max_size=40) | st.text(alphabet="ab.-_:%$`'\";{}[]()\\/ \n#1", max_size=30))
def test_no_text_gets_harmful_characters_into_a_command(text):
    for parse in (parse_host, lambda word: parse_listener(word).host):
        try:
            host = parse(text)
        except ValueError:
            continue
        assert _HARMLESS.fullmatch(host)


@pytest.mark.parametrize(
    "text", ["x.example.com:0", "x.example.com:65536", "x.example.com:443,444", "0.0.0.0:443", "::"]
)
def test_a_listener_is_one_place_to_connect_to(text):
    with pytest.raises(FormError):
        parse_listener(text)


def test_hosts_and_listeners_in_canonical_form():
    assert parse_host("STS.Example.COM.") == "sts.example.com"
    assert parse_host("b\u00fccher.example") == "xn--bcher-kva.example"
    assert parse_host("2001:DB8:0::7") == "2001:db8::7"
    assert str(parse_listener("[2001:db8::9]:8443")) == "[2001:db8::9]:8443"
    assert str(parse_listener("Probe.example.net")) == "probe.example.net:443"


def test_a_host_too_long_for_a_name_is_refused():
    host = ".".join(["a" * 60] * 4)
    with pytest.raises(ValueError, match="253"):
        _plan(host=host)


def test_the_secret_is_nowhere_in_a_plan():
    for triggers in (_plan(), _plan(listener="203.0.113.9")):
        text = repr(triggers)
        assert SECRET.decode() not in text
        assert SECRET.hex() not in text


def test_without_a_secret_names_carry_none():
    assert all(read_name(trigger.name).mac == "0" for trigger in _plan(secret=None))

"""collect/Get-TlsReadiness.ps1, as far as it can be checked without Windows: syntax, commands, its document."""

import re
from pathlib import Path

import tree_sitter
import tree_sitter_powershell

from scanner.importers import article, dotnet_winhttp, registry_json, schannel

SCRIPT = Path(__file__).resolve().parents[2] / "collect" / "Get-TlsReadiness.ps1"
TEXT = SCRIPT.read_text(encoding="utf-8")
ROOT = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language())).parse(TEXT.encode()).root_node

# Commands that read, or that make something in memory alone.
READ_ONLY = {
    "Add-Type",
    "ConvertTo-Json",
    "Get-AdfsProperties",
    "Get-CimInstance",
    "Get-Command",
    "Get-Date",
    "Get-Location",
    "Get-Service",
    "Join-Path",
    "New-Object",
    "Set-StrictMode",
    "Write-Output",
    "Write-Warning",
}
OWN = {"Get-KeyWriteTime", "Get-KeyTree"}


def nodes(node, kind):
    found = [node] if node.type == kind else []
    return found + [each for child in node.children for each in nodes(child, kind)]


def test_it_is_well_formed():
    assert nodes(ROOT, "ERROR") == []
    assert not ROOT.has_error


def test_it_runs_nothing_but_commands_that_read():
    names = {each.text.decode() for each in nodes(ROOT, "command_name")}
    assert names - {"netsh.exe"} == READ_ONLY | OWN
    assert re.findall(r"netsh\.exe (.*)", TEXT) == ["http show sslcert"]


def test_of_the_methods_that_write_it_calls_one_which_writes_the_file():
    assert re.findall(r"\b(?:Set|Create|Delete|Write|Remove|Copy|Move|Append)\w*\(", TEXT) == ["WriteAllText("]
    assert re.findall(r"OpenSubKey\(.*\)", TEXT) == ["OpenSubKey($SubPath, $false)"]


def test_it_covers_every_key_that_is_judged():
    (listed,) = re.findall(r"\$roots = @\((.*?)\n\)", TEXT, re.DOTALL)
    roots = {rf"HKEY_LOCAL_MACHINE\{root}".upper() for root in re.findall(r"'(.+)'", listed)}
    both = (True, False)
    assert roots == {
        schannel.PROTOCOLS,
        article.MISPRINTED,
        *(dotnet_winhttp.dotnet_path(major, is_64=is_64) for major in (2, 4) for is_64 in both),
        *(dotnet_winhttp.winhttp_path(is_64=is_64) for is_64 in both),
    }


def test_its_document_has_the_members_that_are_read():
    (document,) = re.findall(r"\$document = @\{(.*?)\n\}", TEXT, re.DOTALL)
    members = dict(re.findall(r"^    (\w+) = (.*)$", document, re.MULTILINE))
    assert members["schema"] == f"'{registry_json.SCHEMA}'"
    reader = Path(registry_json.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'document\.get\("(\w+)"\)', reader)) | set(re.findall(r'_list\(document, "(\w+)"', reader))
    assert set(members) == read
    assert re.findall(r"(\w+) = ", members["os"]) == re.findall(r'os\.get\("(\w+)"\)', reader)


def test_it_is_ascii():
    # Windows PowerShell 5.1 takes a file without byte order mark for the computer's own code page.
    assert TEXT.isascii()

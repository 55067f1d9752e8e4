"""Between ``entra-tls audit`` and its use case."""

import pytest
import typer

from scanner.audit_terminal import checked_folder, checked_host, run_audit
from scanner.auditing import AuditOptions
from scanner.reports.source import worst_entries


def test_a_host_is_given_as_a_target_is():
    assert checked_host(" STS.Example. ") == "sts.example"
    with pytest.raises(typer.Exit):
        checked_host("a b")


def test_a_folder_must_be_there(tmp_path):
    assert checked_folder(tmp_path) == tmp_path
    with pytest.raises(typer.Exit):
        checked_folder(tmp_path / "none")


def test_files_are_judged_without_a_database(tmp_path, capsys):
    path = tmp_path / "squid.conf"
    path.write_text("http_port 3128\nhttps_port 3129 tls-cert=/c.pem tls-min-version=1.2\n")
    options = AuditOptions(host="proxy.example", product_version="5.7")
    with run_audit([path], options, db=None, run=None, policy_id="strict", is_quiet=True) as results:
        ((host, _),) = worst_entries(results, 5)
    assert (host["name"], host["declared"][0]["product_version"]) == ("proxy.example", "5.7")
    assert capsys.readouterr().out == ""

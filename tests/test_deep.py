"""sslyze's own full scan in a child, against servers of the lab; its JSON is read with sslyze's own model."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest
from sslyze import ScanCommandAttemptStatusEnum, SslyzeOutputAsJson
from sslyze.plugins.scan_commands import ScanCommandsRepository

from scanner.deep import _SCANS, run_deep_scans
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion

pytestmark = pytest.mark.timeout(150)

_FIELDS = {
    TlsVersion.SSL2: "ssl_2_0_cipher_suites",
    TlsVersion.SSL3: "ssl_3_0_cipher_suites",
    TlsVersion.TLS1_0: "tls_1_0_cipher_suites",
    TlsVersion.TLS1_1: "tls_1_1_cipher_suites",
    TlsVersion.TLS1_2: "tls_1_2_cipher_suites",
    TlsVersion.TLS1_3: "tls_1_3_cipher_suites",
}


def endpoint(port, *, host="127.0.0.1", server_name=None, address="127.0.0.1"):
    return Endpoint(host=host, address=address, port=port, server_name=server_name)


def children():
    """Return the process ids of this process's children."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set((task / "children").read_text().split())
    return found


@pytest.mark.lab
def test_json_is_sslyzes_and_agrees_with_the_configuration(lab, tmp_path):
    servers = [server for server in lab if server.name in {"nginx-hole-10-12", "nginx-reject-unknown-name"}]
    assert len(servers) == 2
    before = children()
    scans = asyncio.run(
        run_deep_scans(
            [
                endpoint(server.port, host=server.server_name or server.address, server_name=server.server_name)
                for server in servers
            ],
            tmp_path,
            deadline_s=100,
        )
    )
    assert children() == before
    assert len({scan.path for scan in scans}) == 2
    for server, scan in zip(servers, scans, strict=True):
        assert scan.error is None
        assert scan.endpoint.port == server.port
        output = SslyzeOutputAsJson.model_validate_json(scan.path.read_text())
        (result,) = output.server_scan_results
        assert result.server_location.ip_address == server.address
        assert result.server_location.port == server.port
        accepted = set()
        for version, field in _FIELDS.items():
            attempt = getattr(result.scan_result, field)
            assert attempt.status is ScanCommandAttemptStatusEnum.COMPLETED
            if attempt.result.accepted_cipher_suites:
                accepted.add(version)
        assert accepted == server.enabled


def test_child_that_hangs_is_ended_at_the_deadline(tmp_path):
    before = children()
    # The kernel completes the connection; nobody ever reads.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin = time.monotonic()
        (scan,) = asyncio.run(run_deep_scans([endpoint(listener.getsockname()[1])], tmp_path, deadline_s=2))
        took = time.monotonic() - begin
    assert scan.path is None
    assert scan.error == "not done after 2 s"
    assert 2 <= took < 20
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def test_closed_port_is_told_by_sslyzes_json_or_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (scan,) = asyncio.run(run_deep_scans([endpoint(port)], tmp_path, deadline_s=60))
    if scan.path is None:
        assert scan.error
    else:
        output = SslyzeOutputAsJson.model_validate_json(scan.path.read_text())
        (result,) = output.server_scan_results
        assert result.connectivity_status.value == "ERROR"


def test_cancelling_ends_the_child(tmp_path):
    before = children()

    async def main(port):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await run_deep_scans([endpoint(port)], tmp_path, deadline_s=100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(main(listener.getsockname()[1]))
    assert children() == before


def test_child_that_can_not_start_is_an_error_and_no_exception(tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no sslyze here >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    (scan,) = asyncio.run(run_deep_scans([endpoint(1)], tmp_path))
    assert (scan.path, scan.error) == (None, "no sslyze here")
    broken.write_text("#!/bin/sh\nexit 3\n")
    (scan,) = asyncio.run(run_deep_scans([endpoint(1)], tmp_path))
    assert (scan.path, scan.error) == (None, "exit code 3")


@pytest.mark.parametrize(
    ("wanted", "where", "file_name"),
    [
        (
            endpoint(443, host="sts.example.com", server_name="sts.example.com", address="192.0.2.7"),
            "sts.example.com:443{192.0.2.7}",
            "sslyze_sts.example.com_192.0.2.7_443.json",
        ),
        (
            endpoint(8443, host="192.0.2.7", address="192.0.2.7"),
            "192.0.2.7:8443",
            "sslyze_192.0.2.7_192.0.2.7_8443.json",
        ),
        (
            endpoint(443, host="2001:db8::1", address="2001:db8::1"),
            "[2001:db8::1]:443",
            "sslyze_2001_db8__1_2001_db8__1_443.json",
        ),
    ],
)
def test_sslyze_is_told_address_and_name(tmp_path, monkeypatch, wanted, where, file_name):
    recorder = tmp_path / "python"
    recorder.write_text(f'#!/bin/sh\nfor each; do echo "$each"; done > {tmp_path}/arguments\n')
    recorder.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(recorder))
    asyncio.run(run_deep_scans([wanted], tmp_path))
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[-1] == where
    assert f"--json_out={tmp_path / file_name}" in arguments


def test_no_more_than_two_children_at_a_time(tmp_path, monkeypatch):
    counter = tmp_path / "python"
    counter.write_text(
        f"#!/bin/sh\nmkdir {tmp_path}/run$$\nls -d {tmp_path}/run* | wc -l >> {tmp_path}/counts\n"
        f"sleep 0.2\nrmdir {tmp_path}/run$$\n"
    )
    counter.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(counter))
    asyncio.run(run_deep_scans([endpoint(port) for port in range(1, 7)], tmp_path))
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 6
    assert max(counts) <= 2


def test_everything_sslyze_can_ask_is_asked():
    """Without --mozilla_config it asks nothing that it is not told to."""
    connectors = [
        ScanCommandsRepository.get_implementation_cls(command).cli_connector_cls
        for command in ScanCommandsRepository.get_all_scan_commands()
    ]
    assert sorted(_SCANS) == sorted(connector._cli_option for connector in connectors)

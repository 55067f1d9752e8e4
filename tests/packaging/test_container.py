"""The container image: what is in it, what it may write, and the program's exit codes in it."""

import json
import os
import re
import signal
import socket
import ssl
import threading
import tomllib
import warnings
from contextlib import contextmanager

import pytest
import trustme
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.image import REPOSITORY, USER, pip_configuration

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
REPORTS = ("report.html", "report.json", "report.csv", "runs.sqlite")


@pytest.fixture
def data(tmp_path):
    """The folder that the user mounts: writable for the image's user."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture(params=["buildah", "read-only"])
def run(request, image):
    """Run the image: as buildah does, and on a root file system that can't be written."""
    return image.run_with_buildah if request.param == "buildah" else image.run_read_only


@contextmanager
def tls_server(oldest):
    """A TLS server on loopback that speaks from the oldest version to TLS 1.3; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # TLS 1.0 needs SHA-1, which OpenSSL 3 allows at this level only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # ssl warns of TLS 1.0, which is the point here
        context.minimum_version = oldest
    context.maximum_version = ssl.TLSVersion.TLSv1_3

    def serve(connection):
        connection.settimeout(5)
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            connection.close()  # a hello without a handshake ends here; so does a refused version

    def accept():
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    threads = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(10)
            for thread in threads:
                thread.join(10)


def _ask_for(data, port):
    (data / "targets.txt").write_text(f"[servers]\n127.0.0.1 port={port} sni=localhost\n")


def _states(data):
    """Map version to state in the JSON report, a contract (design: the JSON report)."""
    (host,) = json.loads((data / "report.json").read_text())["hosts"]
    return {each["version"]: each["state"] for each in host["verdicts"] if each["direction"] == "inbound"}


def test_version_and_help(run, data):
    done = run(data, "--version")
    assert (done.code, VERSION in done.output) == (0, True), done.output
    done = run(data, "--help")
    assert (done.code, "scan" in done.output) == (0, True), done.output


def test_a_compliant_host_is_0_and_every_report_is_in_the_folder(run, data):
    with tls_server(ssl.TLSVersion.TLSv1_2) as port:
        _ask_for(data, port)
        done = run(data)  # the image's own default command
    assert done.code == 0, done.output
    assert {path.name for path in data.iterdir()} >= {"targets.txt", *REPORTS}
    assert all((data / name).stat().st_uid == USER for name in REPORTS)
    assert (data / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert _states(data) == {
        "SSL2": "disabled",
        "SSL3": "disabled",
        "TLS1.0": "disabled",
        "TLS1.1": "disabled",
        "TLS1.2": "enabled",
        "TLS1.3": "enabled",
    }


def test_tls_1_0_enabled_is_1(run, data):
    with tls_server(ssl.TLSVersion.TLSv1) as port:
        _ask_for(data, port)
        done = run(data)
    assert done.code == 1, done.output
    assert _states(data)["TLS1.0"] == "enabled"
    assert _states(data)["TLS1.1"] == "enabled"


def test_a_bad_targets_file_is_2_and_names_file_and_line(run, data):
    (data / "targets.txt").write_text("[servers]\n127.0.0.1 port=notaport\n")
    done = run(data)
    assert done.code == 2, done.output
    assert "targets.txt" in done.output
    assert re.search(r"targets\.txt\W+2\b", done.output) or "line 2" in done.output
    assert not (data / "report.html").exists()


def test_nothing_answers_is_3(run, data):
    # Bound and not listening: the port is kept from others, and a connection is refused.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        _ask_for(data, closed.getsockname()[1])
        done = run(data)
    assert done.code == 3, done.output
    assert set(_states(data).values()) == {"unknown"}


def test_a_stopped_run_reports_what_it_learned(image, data):
    """The image's stop signal is Ctrl-C; a host that is silent keeps the program busy until it comes."""
    assert image.config["StopSignal"] == "SIGINT"
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        silent.settimeout(60)
        _ask_for(data, silent.getsockname()[1])
        with image.started_read_only(data) as process:
            connection, _address = silent.accept()
            process.send_signal(signal.SIGINT)
            output, _none = process.communicate(timeout=30)
            connection.close()
    assert process.returncode == 3, output
    assert set(_states(data).values()) == {"unknown"}


def test_nothing_is_written_outside_data(image, data):
    image.run_with_buildah(data, entrypoint=["/bin/true"])  # buildah itself makes mount points at the first run
    before = image.files()
    with tls_server(ssl.TLSVersion.TLSv1_2) as port:
        _ask_for(data, port)
        done = image.run_with_buildah(data)
    assert done.code == 0, done.output
    after = image.files()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    # /etc/hosts, /etc/resolv.conf and /run are the engine's own, written anew at each run.
    assert {path for path in changed if not re.match(r"etc/(hosts|resolv\.conf|hostname)$|run/", path)} == set()


def test_the_read_only_root_is_one(image, data):
    """The check above all others: our read-only run really refuses, and it has neither shell nor root."""
    script = (
        "import os, subprocess\n"
        "def attempt(action):\n"
        "    try:\n"
        "        action()\n"
        "    except OSError as error:\n"
        "        return error.errno\n"
        "    return 0\n"
        "print([os.getuid(), os.getgid(), os.getgroups(),\n"
        "       attempt(lambda: open('/tmp/x', 'w')), attempt(lambda: open('/data/x', 'w')),\n"
        "       attempt(lambda: subprocess.run(['/bin/sh', '-c', 'true']))])\n"
    )
    python = image.config["Entrypoint"][0].replace("entra-tls", "python")
    other = type(image)(
        container=image.container,
        root=image.root,
        config={**image.config, "Entrypoint": [python, "-c"]},
        text=image.text,
    )
    done = other.run_read_only(data, script)
    assert done.code == 0, done.output
    erofs, eacces = 30, 13
    assert done.output.strip() == str([USER, USER, [], erofs, 0, eacces])


def test_image_configuration(image):
    config = image.config
    assert config["User"] == f"{USER}:{USER}"
    assert config["WorkingDir"] == "/data"
    assert set(config["Volumes"]) == {"/data"}
    assert config["Entrypoint"] == ["/opt/venv/bin/entra-tls"]
    assert config["Cmd"][:3] == ["scan", "--file", "/data/targets.txt"]
    assert [each for each in config["Cmd"] if each.startswith("/data/")] == [
        "/data/targets.txt",
        *(f"/data/{name}" for name in REPORTS),
    ]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == VERSION
    assert labels["licenses"] == "AGPL-3.0-or-later"
    assert labels["title"]
    assert labels["description"]


def test_the_build_leaves_no_configuration_and_no_tools(image):
    for line in pip_configuration().splitlines()[1:]:
        option, _, value = line.partition(" = ")
        if option in ("index-url", "extra-index-url", "trusted-host", "proxy"):
            assert value not in image.text
    assert not (image.root / "etc" / "pip.conf").exists()
    assert not list((image.root / "root").glob(".[cp]*/pip*"))
    assert not (image.root / "src").exists()
    assert not (image.root / "wheels").exists()
    names = {path.name for path in _site_packages(image).iterdir()}
    assert not names & {"pip", "setuptools", "hatchling"}


def _site_packages(image):
    (folder,) = (image.root / "opt" / "venv" / "lib").glob("python3.*/site-packages")
    return folder


def test_exactly_the_locked_versions_are_installed(image):
    installed = {
        canonicalize_name(path.name.split("-")[0]): path.name.removesuffix(".dist-info").split("-")[1]
        for path in _site_packages(image).glob("*.dist-info")
    }
    locked = {}
    for pin in re.findall(r"^[a-z][^\s]*==[^\\\n]+", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE):
        requirement = Requirement(pin)
        if requirement.marker is None or requirement.marker.evaluate():
            locked[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    assert installed == {**locked, "entra-tls-scanner": VERSION}


def test_every_module_has_its_bytecode(image):
    """Nothing can be compiled later, so each start would compile again what is not."""
    folder = _site_packages(image) / "scanner"
    sources = [path for path in folder.rglob("*.py") if "_templates" not in path.parts]
    assert sources
    absent = [path.name for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
    assert absent == []

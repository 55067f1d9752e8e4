"""The printed routes in the real programs: checked, run, asked as printed, and taken out again as printed."""

import os
import re
import socket
import ssl
import subprocess
import tempfile
import textwrap
import threading
import time
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from scanner.outbound.tokens import is_authentic, read_name, read_path
from scanner.triggers import ATTEMPTS, Kind, parse_host, parse_listener, plan_triggers
from tests.lab.model import spawn

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

HOST = "proxy.example.com"
SECRET = b"a secret of at least 32 octets..."
LIMITED = "TLSv1.2"
NEWEST = "TLSv1.3"


class Origin:
    """A TLS server that keeps the server name, the version and the request line of each connection."""

    def __init__(self, leaf):
        self.seen = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(leaf.chain, leaf.key)
        self._context.sni_callback = self._keep_name
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._name = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _keep_name(self, _connection, name, _context):
        self._name = name

    def _serve(self):
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            self._name = None
            raw.settimeout(5)
            try:
                with self._context.wrap_socket(raw, server_side=True) as tls:
                    head = b""
                    while b"\r\n\r\n" not in head and (more := tls.recv(65536)):
                        head += more
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    self.seen.append((self._name, tls.version(), head.split(b"\r\n")[0].split(b" ")[1].decode()))
            except OSError as error:
                self.seen.append((self._name, repr(error), ""))

    def close(self):
        # Closing alone would not wake the thread that waits in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def origin(lab_certificates):
    server = Origin(lab_certificates.rsa2048)
    yield server
    server.close()


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _trigger(kind, origin):
    listener = parse_listener(f"127.0.0.1:{origin.port}")
    (trigger,) = plan_triggers(parse_host(HOST), [kind], listener, secret=SECRET)
    return trigger


def _shell(commands, **more):
    return subprocess.run(["bash", "-c", commands], capture_output=True, text=True, check=True, timeout=60, **more)


def _ask(trigger, port):
    """Run the printed requests; only where they go to is changed."""
    commands = trigger.steps[-1].text
    assert commands.count(f"https://{HOST}/") == 1
    return _shell(commands.replace(f"https://{HOST}/", f"http://127.0.0.1:{port}/")).stdout.splitlines()


@contextmanager
def _running(command, workdir, port, env=None):
    server = spawn(command, workdir=workdir, env=env)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.popen.poll() is None, server.log.read_text()
                assert time.monotonic() < deadline, server.log.read_text()
                time.sleep(0.05)
        yield server
    finally:
        server.popen.terminate()
        server.popen.wait(20)


def _assert_credited(trigger, origin, answers, version):
    assert answers == ["Request 200"] * ATTEMPTS
    assert len(origin.seen) == ATTEMPTS  # no connection was used twice
    for name, negotiated, path in origin.seen:
        assert (name, negotiated) == (trigger.name, version)
        for token in (read_name(name), read_path(path)):
            assert (token.host, token.method) == (HOST, trigger.method)
            assert is_authentic(token, SECRET)


def _assert_cleaned(trigger, path, before):
    """The printed clean-up gives back the file as it was."""
    (cleanup,) = trigger.cleanup
    remove, *_ = cleanup.text.splitlines()
    assert remove.startswith("sed -i ")
    assert path.read_text() != before
    _shell(re.sub(r"\S+$", str(path), remove))
    assert path.read_text() == before


def _nginx(workdir, port, route, limit):
    parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = "\n".join(f"{part}_temp_path {workdir}/{part};" for part in parts)
    return f"""daemon off; master_process off; worker_processes 1;
pid {workdir}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
access_log off;
{temp}
server {{
listen 127.0.0.1:{port};
{f"proxy_ssl_protocols {limit};" if limit else ""}
proxy_ssl_verify on;
proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;
{route}location / {{ return 404; }}
}}
}}
"""


@pytest.mark.parametrize(("limit", "version"), [(LIMITED, LIMITED), ("TLSv1.2 TLSv1.3", NEWEST)])
def test_nginx_takes_its_own_settings_to_the_listener(origin, tmp_path, limit, version):
    trigger, port = _trigger(Kind.NGINX, origin), _free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(_nginx(tmp_path, port, trigger.steps[0].text + "\n", limit))
    command = ["nginx", "-p", tmp_path, "-c", config, "-e", "stderr"]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with _running(command, tmp_path, port):
        _assert_credited(trigger, origin, _ask(trigger, port), version)
    _assert_cleaned(trigger, config, _nginx(tmp_path, port, "", limit))


def _haproxy(port, frontend, backend, limit):
    return f"""global
  maxconn 64
  nbthread 1
  ssl-default-server-options {limit}
defaults
  mode http
  timeout client 10s
  timeout connect 10s
  timeout server 10s
frontend web
  bind 127.0.0.1:{port}
{frontend}  use_backend other if {{ path_beg / }}
backend other
  http-request return status 404
{backend}"""


@pytest.mark.parametrize(("limit", "version"), [("ssl-max-ver TLSv1.2", LIMITED), ("ssl-min-ver TLSv1.2", NEWEST)])
def test_haproxy_takes_its_own_settings_to_the_listener(origin, tmp_path, limit, version):
    trigger, port = _trigger(Kind.HAPROXY, origin), _free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(_haproxy(port, trigger.steps[0].text + "\n", trigger.steps[1].text + "\n", limit))
    checked = subprocess.run(["haproxy", "-c", "-f", config], check=True, capture_output=True, text=True)
    assert "WARNING" not in checked.stderr
    with _running(["haproxy", "-db", "-f", config], tmp_path, port):
        _assert_credited(trigger, origin, _ask(trigger, port), version)
    _assert_cleaned(trigger, config, _haproxy(port, "", "", limit))


def _apache(workdir, port, route, limit):
    modules = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http")
    load = "\n".join(f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so" for each in modules)
    return f"""ServerRoot {workdir}
PidFile {workdir}/apache.pid
ErrorLog /dev/stderr
Mutex posixsem
User www-data
Group www-data
ServerName {HOST}
{load}
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
SSLProxyProtocol {limit}
ProxyPreserveHost On
{route}</VirtualHost>
"""


@pytest.mark.parametrize(("limit", "version"), [("-all +TLSv1.2", LIMITED), ("-all +TLSv1.2 +TLSv1.3", NEWEST)])
def test_apache_takes_its_own_settings_to_the_listener(origin, tmp_path, limit, version):
    trigger, port = _trigger(Kind.APACHE, origin), _free_port()
    config, hosts = tmp_path / "apache2.conf", tmp_path / "hosts"
    config.write_text(_apache(tmp_path, port, trigger.steps[0].text + "\n", limit))
    hosts.write_text("127.0.0.1 localhost\n")
    # A hosts file of its own, bound over the machine's in a mount namespace; the printed line is added there.
    (add,), (undo,) = trigger.name_steps, trigger.name_cleanup
    run = f"mount --bind {hosts} /etc/hosts && {add.text} && "
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "bash", "-c"]
    subprocess.run(
        [*unshare, f"{run} apache2 -t -f {config}"], check=True, capture_output=True, env=os.environ | {"PATH": PATH}
    )
    hosts.write_text("127.0.0.1 localhost\n")
    with _running([*unshare, f"{run} exec apache2 -X -f {config}"], tmp_path, port):
        _assert_credited(trigger, origin, _ask(trigger, port), version)
    assert trigger.name in hosts.read_text()
    subprocess.run([*unshare, f"mount --bind {hosts} /etc/hosts && {undo.text}"], check=True)
    assert hosts.read_text() == "127.0.0.1 localhost\n"
    _assert_cleaned(trigger, config, _apache(tmp_path, port, "", limit))


@pytest.fixture
def folder_for_all():
    """A folder that a server may use which root starts and which then changes its user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def _squid(workdir, port, route):
    return f"""http_port 127.0.0.1:{port} accel defaultsite={HOST}
pid_filename none
cache_log {workdir}/cache.log
access_log none
cache deny all
coredump_dir {workdir}
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname {HOST}
{route}http_access deny all
"""


@pytest.mark.parametrize(("copied", "version"), [(" tls-options=NO_TLSv1_3", LIMITED), ("", NEWEST)])
def test_squid_as_reverse_proxy_goes_to_the_listener(origin, folder_for_all, copied, version):
    trigger, port = _trigger(Kind.SQUID, origin), _free_port()
    config = folder_for_all / "squid.conf"
    # What the text tells people to copy from their own cache_peer goes to the end of the line.
    route = re.sub(r"^(cache_peer .*)$", rf"\1{copied}", trigger.steps[0].text, flags=re.MULTILINE)
    config.write_text(_squid(folder_for_all, port, route + "\n"))
    checked = subprocess.run(
        ["squid", "-k", "parse", "-f", config],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": PATH},
    )
    warnings = re.findall(r"(?:WARNING|ERROR|FATAL): .*", checked.stderr)
    assert warnings == ["WARNING: Peer certificates are not verified for validity!"]  # as asked for
    with _running(["squid", "-N", "-f", config, "-n", f"t{os.getpid()}"], folder_for_all, port):
        answers = _ask(trigger, port)
        # Before it uses a peer, Squid looks whether anything listens there: a connection without a hello.
        name, what, _ = origin.seen.pop(0)
        assert name is None
        assert "EOF" in what
        _assert_credited(trigger, origin, answers, version)
    _assert_cleaned(trigger, config, _squid(folder_for_all, port, ""))


def _envoy(port, route, cluster):
    return f"""static_resources:
  listeners:
  - name: web
    address:
      socket_address: {{ address: 127.0.0.1, port_value: {port} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: web
              domains: ["*"]
              routes:
{textwrap.indent(route, " " * 14)}              - match: {{ prefix: "/" }}
                direct_response: {{ status: 404 }}
  clusters:
{textwrap.indent(cluster, "  ")}  - name: other
    type: STATIC
"""


def test_envoy_goes_to_the_listener(origin, tmp_path):
    trigger, port = _trigger(Kind.ENVOY, origin), _free_port()
    config = tmp_path / "envoy.yaml"
    config.write_text(_envoy(port, trigger.steps[0].text + "\n", trigger.steps[1].text + "\n"))
    program = resources.files("envoy").joinpath("_bin", "envoy")
    common = [program, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    subprocess.run([*common, "--mode", "validate"], check=True, capture_output=True)
    with _running(common, tmp_path, port):
        # Envoy's documented default for upstreams is TLS 1.2 alone (its common.proto).
        _assert_credited(trigger, origin, _ask(trigger, port), LIMITED)
    _assert_cleaned(trigger, config, _envoy(port, "", ""))

"""A PostgreSQL server of the tests' own: on a Unix socket, in a folder that is deleted afterwards."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

_ACCOUNT = "postgres"


def _folders():
    """Where Debian and others put the server's programs, the newest first."""
    return [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"), Path("/usr/bin")]


def _maybe_folder():
    return next((each for each in _folders() if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)


def absent():
    """Return what is missing, none where the tests can run."""
    reasons = []
    if _maybe_folder() is None:
        reasons.append("PostgreSQL's initdb and pg_ctl (Debian postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        reasons.append("psycopg (Python development dependency)")
    return reasons


def _open_way(home):
    """Let the server's own account, which is not root, come to its folder."""
    if os.geteuid() == 0:
        for path in (home, *home.parents[: 3 if "popen-gw" in str(home) else 2]):
            path.chmod(0o755)


@contextlib.contextmanager
def start_postgresql(home):
    """Run a server below home (a folder); gives a function that makes a database and returns its URL."""
    programs = _maybe_folder()
    # The server refuses to run as root.
    account = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": ()} if os.geteuid() == 0 else {}
    if account:
        shutil.chown(home, _ACCOUNT, _ACCOUNT)
        _open_way(home)
    data = home / "data"

    def run(program, *arguments):
        subprocess.run(
            [programs / program, *arguments], check=True, cwd=home, timeout=60, stdout=subprocess.DEVNULL, **account
        )

    run("initdb", "-D", data, "-U", _ACCOUNT, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start")
    try:

        def make_database(name):
            run("createdb", "-h", home, "-U", _ACCOUNT, name)
            return f"postgresql+psycopg://{_ACCOUNT}@/{name}?host={home}"

        yield make_database
    finally:
        _open_way(home)  # another pytest on this machine shuts the folder they share
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")

"""Build the container image with buildah on a base made by debootstrap, and run it in two ways."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache" / "container"
SUITE = "bookworm"
INCLUDE = "python3,python3-venv,ca-certificates"
BASE = "localhost/entra-tls-base"
IMAGE = "localhost/entra-tls:test"
USER = 10001
CERTIFICATES = Path("/etc/ssl/certs")
# What of the machine's pip configuration the build needs too; paths of its own wheels would mean nothing there.
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout", "default-timeout")

READ_ONLY = """
set -eu
root=$1 data=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$data" "$root/data"
# No shell either: a program that starts one gets "permission denied".
mount --bind /dev/null "$(readlink -f "$root/usr/bin/dash")"
mount --bind /dev/null "$(readlink -f "$root/usr/bin/bash")"
exec chroot --userspec=10001:10001 --groups= "$root" "$@"
"""


def absent():
    """Return why the image can't be built and run here, in words; empty where it can."""
    reasons = []
    if not sys.platform.startswith("linux") or not Path("/etc/debian_version").exists():
        reasons.append("not Debian")
    elif os.geteuid() != 0:
        reasons.append("not root")
    reasons += [f"{name} is not installed" for name in ("buildah", "debootstrap") if not _which(name)]
    return reasons


def _which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _run(*command, timeout_s=280, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done


def _maybe_mirror():
    """Return this machine's own Debian mirror for the suite; None leaves debootstrap's default."""
    listed = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)").stdout
    for release, component, uri in (line.split(" ", 2) for line in listed.splitlines()):
        if release == SUITE and component == "main":
            return uri
    return None


def base_archive():
    """Return the base's root file system as a tar file, made once and kept in .cache."""
    archive = CACHE / f"base-{SUITE}-{platform.machine()}-{INCLUDE.replace(',', '-')}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="debootstrap-") as folder:
            root = Path(folder) / "root"
            mirror = _maybe_mirror()
            _run(
                _which("debootstrap"),
                "--variant=minbase",
                f"--include={INCLUDE}",
                SUITE,
                str(root),
                *([mirror] if mirror else []),
            )
            for path in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")):
                path.unlink()
            partial = Path(folder) / "base.tar"
            _run("tar", "-C", str(root), "-cf", str(partial), ".")
            partial.rename(archive)
    return archive


def pip_configuration():
    """Return the machine's pip options that the build needs, as the text of a pip.conf."""
    found = {}
    for line in _run(sys.executable, "-m", "pip", "config", "list").stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if option in PIP_OPTIONS and (section in ("global", "install", ":env:")):
            found[option] = value.strip().strip("'\"")
    return "[global]\n" + "".join(f"{option} = {value}\n" for option, value in found.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How one run of the container ended."""

    code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The built image, with one container made from it."""

    container: str
    """Its name."""
    root: Path
    """Its root file system, mounted."""
    config: dict
    """The OCI image configuration."""
    text: str
    """All that buildah tells of the image: configuration, history, manifest."""

    def environment(self):
        """The image's variables."""
        return dict(each.split("=", 1) for each in self.config["Env"])

    def run_with_buildah(self, data, *arguments, entrypoint=None):
        """Run as a container engine does: the image's user, variables, folder and entry point."""
        command = [*(entrypoint or self.config["Entrypoint"]), *(arguments or self.config["Cmd"])]
        volume = f"{data}:/data"
        isolation = ("--isolation", "chroot", "--network", "host")
        return _done(_buildah("run", *isolation, "--volume", volume, self.container, "--", *command, check=False))

    def run_read_only(self, data, *arguments):
        """Run on a root file system that the kernel refuses to write to, /tmp included, and without a shell."""
        return _done(_run(*self._read_only(data, *arguments), timeout_s=120, check=False))

    def started_read_only(self, data, *arguments):
        """Start the same and return the Popen: its process is the program itself, since each step replaces the last."""
        return subprocess.Popen(
            self._read_only(data, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _read_only(self, data, *arguments):
        variables = [f"{name}={value}" for name, value in self.environment().items()]
        command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        inside = ["/usr/bin/env", "-i", "-C", self.config["WorkingDir"], *variables, *command]
        # A mount namespace of its own: all mounts end with it.
        outside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]
        return [*outside, str(self.root), str(data), *inside]

    def files(self):
        """Map each path of the root file system to its kind, size and time of change; folders to their kind only."""
        found = {}
        for folder, _folders, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                status = path.lstat()
                found[str(path.relative_to(self.root))] = (status.st_mode, status.st_size, status.st_mtime_ns)
            found[str(Path(folder).relative_to(self.root)) + "/"] = ()
        return found


def _done(finished):
    return Done(code=finished.returncode, output=finished.stdout + finished.stderr)


def _buildah(*arguments, check=True):
    store = ("--root", str(CACHE / "store" / "root"), "--runroot", str(CACHE / "store" / "run"))
    return _run("buildah", *store, "--storage-driver", "vfs", *arguments, check=check)


def _remove_store():
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{CACHE / 'store'}/")), reverse=True):
        _run("umount", mount)
    shutil.rmtree(CACHE / "store", ignore_errors=True)


@contextmanager
def built_image():
    """Yield the image, built in a store that is removed afterwards; a store that a killed run left is removed first."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # One at a time: several checkouts have several caches, several runs in one checkout share this one.
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_store()
        try:
            (CACHE / "store").mkdir()
            _make_base()
            _build()
            container = _buildah("from", IMAGE).stdout.strip()
            # Where the image declares a volume, buildah run (1.28) puts an empty one over the folder that --volume
            # names; docker, podman and Kubernetes use the named one. Without the declaration buildah does too.
            _buildah("config", "--volume", "/data-", container)
            root = Path(_buildah("mount", container).stdout.strip())
            inspected = _buildah("inspect", "--type", "image", IMAGE).stdout
            config = json.loads(inspected)["OCIv1"]["config"]
            yield Image(container=container, root=root, config=config, text=inspected)
        finally:
            _remove_store()


def _make_base():
    container = _buildah("from", "scratch").stdout.strip()
    _buildah("add", container, str(base_archive()), "/")
    _buildah("commit", "--rm", container, BASE)


def _build():
    secret = CACHE / "store" / "pip.conf"
    secret.write_text(pip_configuration())
    _buildah(
        "build",
        "--isolation=chroot",
        "--network=host",
        f"--build-arg=BASE_IMAGE={BASE}",
        f"--secret=id=pip_conf,src={secret}",
        f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
        f"--tag={IMAGE}",
        str(REPOSITORY),
    )

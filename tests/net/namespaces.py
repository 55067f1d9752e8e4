"""Two network namespaces and a veth pair: the scanner's end, and the peer's, where whole blocks are local."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK = {4: "198.18.0.0/16", 6: "2001:db8:18::/64"}
"""Every address in them is the peer's (RFC 2544 and RFC 3849: nobody's elsewhere)."""
OURS = {4: "198.19.0.1", 6: "2001:db8:19::1"}
PEERS = {4: "198.19.0.2", 6: "2001:db8:19::2"}
LINK = {4: 30, 6: 64}
DEVICE = "veth"

_CLONE_NEWNET = 0x4000_0000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def absent():
    """Return why namespaces can't be made here, one reason each; nothing where they can."""
    reasons = [f"no {command}" for command in ("ip", "nft", "setpriv") if shutil.which(command) is None]
    if not reasons:
        name = f"syn-{os.getpid()}-try"
        try:
            _run("ip", "netns", "add", name)
            _run("ip", "netns", "exec", name, "nft", "list", "ruleset")
        except RuntimeError as error:
            reasons.append(str(error))
        finally:
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False, timeout=30)
    return reasons


class Namespace:
    """One network namespace, and a thread that lives in it: sockets made there stay in it."""

    def __init__(self, name):
        self._name = name
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)

    def _enter(self):
        with Path("/run/netns", self._name).open("rb") as place:
            if _LIBC.setns(place.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def ip(self, *words):
        _run("ip", "-n", self._name, *words)

    def nft(self, rules):
        _run("ip", "netns", "exec", self._name, "nft", "-f", "-", text=rules)

    def call(self, function, *arguments, timeout_s=60):
        return self._thread.submit(function, *arguments).result(timeout=timeout_s)

    def run(self, make_coroutine, *, timeout_s=60):
        return self.call(lambda: asyncio.run(make_coroutine()), timeout_s=timeout_s)

    def close(self):
        self._thread.shutdown()


@contextlib.contextmanager
def namespace_pair(label="syn"):
    """Yield (scanner's end, peer's end), both families routed; they are gone afterwards. label: one for each pair."""
    names = [f"{label}-{os.getpid()}-{end}" for end in ("scan", "peer")]
    with contextlib.ExitStack() as stack:
        for name in names:
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "del", name)
        _run("ip", "link", "add", DEVICE, "netns", names[0], "type", "veth", "peer", "name", DEVICE, "netns", names[1])
        ends = [Namespace(name) for name in names]
        for end, addresses in zip(ends, (OURS, PEERS), strict=True):
            stack.callback(end.close)
            end.ip("link", "set", "lo", "up")
            for version, address in addresses.items():
                flags = ("nodad",) if version == 6 else ()
                end.ip("address", "add", f"{address}/{LINK[version]}", "dev", DEVICE, *flags)
            end.ip("link", "set", DEVICE, "up")
        for version, block in BLOCK.items():
            ends[0].ip(f"-{version}", "route", "add", block, "via", PEERS[version])
            ends[1].ip(f"-{version}", "route", "add", "local", block, "dev", "lo")
        # IPv4 lets a socket have any address of a local route; IPv6 asks for this.
        ends[1].call(Path("/proc/sys/net/ipv6/ip_nonlocal_bind").write_text, "1")
        yield tuple(ends)

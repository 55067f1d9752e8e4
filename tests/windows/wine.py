"""Wine: one prefix, its registry, and a program that uses WinHTTP."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# ServerXMLHTTP and Internet Explorer have settings of their own; this is WinHTTP and nothing else.
_FETCH = """\
On Error Resume Next
Set request = CreateObject("WinHttp.WinHttpRequest.5.1")
request.Option(4) = 13056
request.Open "GET", WScript.Arguments(0), False
request.Send
"""


@dataclass(frozen=True, slots=True)
class Wine:
    """A prefix (its registry and its drives)."""

    home: Path
    """Directory of the prefix's parent; files below it are drive Z."""

    def run(self, *words: str, limit_s: float = 60.0) -> str:
        """Run a program of the prefix; return what it printed. Raises CalledProcessError where it failed."""
        # To a file: the services that the first program starts would keep a pipe open for as long as they run.
        with tempfile.TemporaryFile() as output:
            subprocess.run(
                ["wine", *words],
                env=self._environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                check=True,
            )
            output.seek(0)
            return output.read().decode("utf-8", "replace")

    def create(self) -> None:
        """Make the prefix; its server stays up, as starting it takes longer than most programs run."""
        (self.home / "prefix").mkdir(mode=0o700)
        # It would keep a pipe open for as long as it runs.
        subprocess.run(
            ["wineserver", "-p"],
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        self.run("wineboot", "-i", limit_s=240)

    def stop(self) -> None:
        """End what Wine left running."""
        for words in (["wineserver", "-k"], ["wineserver", "-w"]):
            subprocess.run(words, env=self._environment(), capture_output=True, timeout=60, check=False)

    def import_values(self, lines: Sequence[str]) -> None:
        """Import a .reg file of these lines."""
        path = self.home / "import.reg"
        path.write_text(
            "\r\n".join(["Windows Registry Editor Version 5.00", "", *lines, ""]), encoding="utf-16", newline=""
        )
        self.run("reg", "import", _on_drive_z(path))

    def set_value(self, key: str, name: str, kind: str, data: str) -> None:
        """Set one registry value."""
        self.run("reg", "add", key, "/v", name, "/t", kind, "/d", data, "/f")

    def export(self, key: str) -> bytes:
        """Return what ``reg export`` writes."""
        path = self.home / "export.reg"
        self.run("reg", "export", key, _on_drive_z(path), "/y")
        return path.read_bytes()

    def query(self, key: str) -> bytes:
        """Return what ``reg query /s`` prints."""
        return self.run("reg", "query", key, "/s").encode()

    def fetch(self, url: str) -> None:
        """Have a VBScript get a URL by WinHTTP; whether it succeeds is not told."""
        script = self.home / "fetch.vbs"
        script.write_text(_FETCH, encoding="ascii")
        self.run("cscript", "//nologo", _on_drive_z(script), url)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        kept.pop("DISPLAY", None)
        # No debugger, no Mono and no Gecko: nothing is asked for and nothing fetched.
        own = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "winedbg.exe,mscoree,mshtml=", "HOME": str(self.home)}
        # The server's binary is not on PATH in Debian.
        path = f"{kept.get('PATH', '')}:/usr/lib/wine"
        return kept | own | {"WINEPREFIX": str(self.home / "prefix"), "PATH": path}


def _on_drive_z(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")

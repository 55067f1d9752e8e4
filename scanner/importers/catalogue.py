"""Every kind of file that can be read, and which of them a file is. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scanner.importers import (
    a10,
    apache,
    f5,
    haproxy,
    hive,
    netscaler,
    netsh_sslcert,
    nginx,
    reg_file,
    reg_query,
    registry_json,
    squid,
    stunnel,
    windows_files,
)
from scanner.importers.edits import Remedy, Wants
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import Reading

LEAST_SCORE = 20
"""Files that every importer is less sure of are refused: a guess is a defect."""


class PlanEdits(Protocol):
    """Plans the change of a file; raises ReadError as reading it does."""

    def __call__(self, source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
        """Return the change, or nothing where none is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One kind of file."""

    id: str
    """As in Reading.importer."""
    title: str
    """For people: product and file."""
    recognise: Callable[[SourceFile], int]
    """How sure it is that the file is of its kind: 0 not at all, 100 certain. Never raises."""
    read: Callable[[SourceFile, Folder, ReadOptions], Reading]
    """What the file says. Raises ReadError."""
    plan_edits: PlanEdits | None = None
    """The exact change of the file; None where only the policy's advice is known."""


IMPORTERS = (
    Importer(
        id="nginx", title="nginx: nginx.conf", recognise=nginx.recognise, read=nginx.read, plan_edits=nginx.plan_edits
    ),
    Importer(id="apache", title="Apache httpd: httpd.conf", recognise=apache.recognise, read=apache.read),
    Importer(id="squid", title="Squid: squid.conf", recognise=squid.recognise, read=squid.read),
    Importer(
        id="haproxy",
        title="HAProxy: haproxy.cfg",
        recognise=haproxy.recognise,
        read=haproxy.read,
        plan_edits=haproxy.plan_edits,
    ),
    Importer(
        id="stunnel",
        title="stunnel: stunnel.conf",
        recognise=stunnel.recognise,
        read=stunnel.read,
        plan_edits=stunnel.plan_edits,
    ),
    Importer(id="f5", title="F5 BIG-IP: bigip.conf", recognise=f5.recognise, read=f5.read, plan_edits=f5.plan_edits),
    Importer(
        id="netscaler",
        title="NetScaler: ns.conf",
        recognise=netscaler.recognise,
        read=netscaler.read,
        plan_edits=netscaler.plan_edits,
    ),
    Importer(
        id="a10",
        title="A10 Thunder: running configuration",
        recognise=a10.recognise,
        read=a10.read,
        plan_edits=a10.plan_edits,
    ),
    Importer(
        id="reg",
        title="Windows: .reg file",
        recognise=reg_file.recognise,
        read=windows_files.REG.read,
        plan_edits=windows_files.REG.plan_edits,
    ),
    Importer(
        id="reg-query",
        title="Windows: output of reg query",
        recognise=reg_query.recognise,
        read=windows_files.REG_QUERY.read,
        plan_edits=windows_files.REG_QUERY.plan_edits,
    ),
    Importer(
        id="windows-json",
        title="Windows: JSON of collect/Get-TlsReadiness.ps1",
        recognise=registry_json.recognise,
        read=windows_files.WINDOWS_JSON.read,
        plan_edits=windows_files.WINDOWS_JSON.plan_edits,
    ),
    Importer(
        id="hive",
        title="Windows: registry hive SYSTEM or SOFTWARE",
        recognise=hive.recognise,
        read=windows_files.HIVE.read,
        plan_edits=windows_files.HIVE.plan_edits,
    ),
    Importer(
        id="netsh-sslcert",
        title="Windows: output of netsh http show sslcert",
        recognise=netsh_sslcert.recognise,
        read=windows_files.NETSH.read,
    ),
)
"""In the order of the help."""

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "gzip data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"MSCF": "a cabinet archive",
}
_TAR_MAGIC_AT = 257


def choose_importer(source: SourceFile, wanted: str | None = None) -> Importer:
    """Return the importer of the wanted id, or the one that is surest of the file.

    Raises ReadError for archives, for an unknown id, where none is sure, and where two are equally sure.
    """
    packed = maybe_archive(source.data)
    if packed is not None:
        raise ReadError(f"{source.name} is {packed}: unpack it, and give the files")
    if wanted is not None:
        found = next((each for each in IMPORTERS if each.id == wanted), None)
        if found is None:
            raise ReadError(
                f"there is no kind of file {wanted!r}; there are {', '.join(each.id for each in IMPORTERS)}"
            )
        return found
    scores = sorted(((each.recognise(source), each) for each in IMPORTERS), key=lambda pair: -pair[0])
    (best, importer), *others = scores
    if best < LEAST_SCORE:
        known = "; ".join(each.title for each in IMPORTERS)
        raise ReadError(f"{source.name} is no file that is known; --as says what it is. Known are: {known}")
    equal = [importer.id, *(each.id for score, each in others if score == best)]
    if len(equal) > 1:
        raise ReadError(f"{source.name} may be {' or '.join(equal)}: --as says which")
    return importer


def maybe_archive(data: bytes) -> str | None:
    """Return what kind of archive or compressed data the bytes begin, for people; None where they are neither."""
    if data[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "a tar archive"
    return next((name for magic, name in _ARCHIVES.items() if data.startswith(magic)), None)

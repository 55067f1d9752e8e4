"""What a Windows registry export says: Schannel, .NET Framework, WinHTTP, http.sys. Pure.

Two answers that are never merged: the checks ``article-*`` say whether the values stand there as the article words
them, the legs say what holds. Schannel speaks for programs that use it, not for the host.
"""

from __future__ import annotations

from collections.abc import Sequence

from scanner.importers.article import check_article
from scanner.importers.claims import MOST_NOTES_COUNT
from scanner.importers.dotnet_winhttp import dotnet_path, judge_dotnet, judge_winhttp, winhttp_path
from scanner.importers.registry_model import RegistryExport, SslBinding
from scanner.importers.schannel import PROTOCOLS, Registry, judge_schannel, schannel_path, unknown
from scanner.importers.source import ReadError, ReadOptions
from scanner.importers.windows_defaults import Release, maybe_release
from scanner.model.checks import Check, CheckState
from scanner.model.declared import ClueKind, HostClue, Leg, LineNote, LineState, Listen, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_SCHANNEL_ONLY = "Schannel's values say nothing of programs with a TLS library of their own (OpenSSL, Java)."
_WATCHED = (PROTOCOLS, *(dotnet_path(major, is_64=is_64) for major in (2, 4) for is_64 in (True, False)))


def judge_export(export: RegistryExport, *, file: str, sha256: str, importer: str, options: ReadOptions) -> Reading:
    """Return what an export says. Raises ReadError where that is nothing of TLS."""
    registry = Registry(export)
    release = maybe_release(export.windows_build, export.product_name, options.product_version)
    client = judge_schannel(registry, release, is_client=True)
    server = judge_schannel(registry, release, is_client=False)
    has_registry = bool(export.keys or export.values or export.roots)
    legs = []
    if has_registry:
        legs = [
            _permission("Schannel Server", server, Direction.INBOUND),
            _permission("Schannel Client", client, Direction.OUTBOUND),
            *_dotnet_legs(registry, client),
            *_winhttp_legs(registry, client, release),
        ]
    legs += _binding_legs(export.bindings or (), server)
    if not legs:
        raise ReadError(f"{file}: nothing in it is about TLS")
    names = [(export.computer_name or "", ClueKind.MACHINE)]
    names += [(binding.server_name, ClueKind.SERVED) for binding in export.bindings or ()]
    facts = export.facts
    if export.last_boot_at is not None:
        facts = (*facts, ("last_boot_at", export.last_boot_at.isoformat()))
    return Reading(
        importer=importer,
        product=export.product_name or (release.title if release is not None else "Windows"),
        product_version=export.windows_build or options.product_version,
        file=file,
        sha256=sha256,
        legs=tuple(legs),
        checks=(*check_article(registry), _check_restart(export), *_check_old(registry)) if has_registry else (),
        notes=tuple(
            LineNote(place=place, state=LineState.UNRECOGNISED, text="line", detail=words)
            for place, words in export.problems[:MOST_NOTES_COUNT]
        ),
        clues=tuple(HostClue(name=name.lower(), kind=kind) for name, kind in dict.fromkeys(names) if name),
        collected_at=export.collected_at,
        facts=facts,
    )


def _dotnet_legs(registry: Registry, client: tuple[Setting, ...]) -> list[Leg]:
    """Return a leg for .NET 4 on each bitness that the export covers, and for .NET 2 to 3.5 where its key is there."""
    legs = []
    for major in (4, 2):
        for is_64 in (True, False):
            path = dotnet_path(major, is_64=is_64)
            if path in registry.paths or (major == 4 and registry.covers(path)):
                settings = judge_dotnet(registry, client, major=major, is_64=is_64)
                name = f".NET Framework {major} ({64 if is_64 else 32}-bit)"
                legs.append(_permission(name, settings, Direction.OUTBOUND))
    return legs


def _winhttp_legs(registry: Registry, client: tuple[Setting, ...], release: Release | None) -> list[Leg]:
    """Return a leg for WinHTTP on each bitness that the export covers."""
    legs = []
    for is_64 in (True, False):
        path = winhttp_path(is_64=is_64)
        if path in registry.paths or registry.covers(path):
            settings = judge_winhttp(registry, client, release, is_64=is_64)
            legs.append(_permission(f"WinHTTP default ({64 if is_64 else 32}-bit)", settings, Direction.OUTBOUND))
    return legs


def _permission(name: str, settings: tuple[Setting, ...], direction: Direction) -> Leg:
    return Leg(name=name, direction=direction, settings=settings, is_permission=True, limits=(_SCHANNEL_ONLY,))


def _binding_legs(bindings: Sequence[SslBinding], server: Sequence[Setting]) -> list[Leg]:
    legs = []
    seen: dict[str, int] = {}
    for binding in bindings:
        name = f"http.sys binding {binding.server_name or binding.address or '*'}:{binding.port or '?'}"
        seen[name] = seen.get(name, 0) + 1
        legs.append(
            Leg(
                name=name if seen[name] == 1 else f"{name} (no. {seen[name]})",
                direction=Direction.INBOUND,
                settings=tuple(_bound(binding, own) for own in server),
                listens=(Listen(address=binding.address, port=binding.port),),
                server_names=(binding.server_name.lower(),) if binding.server_name else (),
            )
        )
    return legs


def _bound(binding: SslBinding, own: Setting) -> Setting:
    version = own.version
    if version in binding.disabled:
        reason = f"A flag of the http.sys binding turns {version.title} off."
        return Setting(version=version, state=State.DISABLED, basis=Basis.DECLARED, reason=reason, place=binding.place)
    if version in binding.unread and own.state is not State.DISABLED:
        reason = f"A flag of the http.sys binding for {version.title} can't be read."
        return unknown(version, GapReason.UNSUPPORTED, reason, binding.place)
    return own


def _check_restart(export: RegistryExport) -> Check:
    times = [
        key.written_at
        for key in export.keys
        if key.written_at is not None and any(f"{key.path}\\".startswith(f"{each}\\") for each in _WATCHED)
    ]
    state, detail = CheckState.UNKNOWN, "the file lacks the last boot time, or when the keys were written"
    if times and export.last_boot_at is not None:
        is_pending = max(times) > export.last_boot_at
        state = CheckState.YES if is_pending else CheckState.NO
        detail = f"last boot {export.last_boot_at.isoformat()}, last change {max(times).isoformat()}"
    title = "TLS settings were changed after the last boot: a restart is pending"
    return Check(id="restart-pending", title=title, state=state, detail=detail)


def _check_old(registry: Registry) -> tuple[Check, ...]:
    places = []
    for version in ALL_VERSIONS:
        for is_client in (True, False):
            found = registry.find(schannel_path(version, is_client=is_client), "Enabled")
            if version < TlsVersion.TLS1_2 and found.number and found.place is not None:
                places.append(found.place.locator)
    if not places:
        return ()
    title = "The configuration allows versions before TLS 1.2"
    return (Check(id="config-allows-old", title=title, state=CheckState.YES, detail=", ".join(places)),)

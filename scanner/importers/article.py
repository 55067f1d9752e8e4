"""The registry values that the article words, and whether an export has them as worded. Pure.

Source: learn.microsoft.com/entra/identity/devices/reference-device-registration-tls-1-2. It
prints the .NET path without
the backslash before ".NETFramework": its Markdown source has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scanner.importers.schannel import Registry, schannel_path
from scanner.model.checks import Check, CheckState
from scanner.model.versions import TlsVersion

MISPRINTED = r"HKEY_LOCAL_MACHINE\SOFTWARE\MICROSOFT.NETFRAMEWORK"
DOTNET4 = r"HKEY_LOCAL_MACHINE\SOFTWARE\MICROSOFT\.NETFRAMEWORK\V4.0.30319"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleValue:
    """One value."""

    check: str
    """The check it belongs to."""
    path: str
    """Its key, as RegistryKey.path."""
    name: str
    """Its name."""
    number: int
    """0, or 1 for any other number: "any non-zero" is on."""


ARTICLE_VALUES = (
    *tuple(
        ArticleValue(
            check=f"article-schannel-{side}",
            path=schannel_path(TlsVersion.TLS1_2, is_client=side == "client"),
            name=name,
            number=number,
        )
        for side in ("client", "server")
        for name, number in (("DisabledByDefault", 0), ("Enabled", 1))
    ),
    ArticleValue(check="article-dotnet", path=DOTNET4, name="SchUseStrongCrypto", number=1),
)
_TITLES = {
    "article-schannel-client": "The TLS 1.2 client values are set as the article words them",
    "article-schannel-server": "The TLS 1.2 server values are set as the article words them",
    "article-dotnet": "The .NET value is set as the article words it",
}


def check_article(registry: Registry) -> tuple[Check, ...]:
    """Return a check for each part of the article, and one for its misprinted path."""
    checks = []
    for check, title in _TITLES.items():
        wrong: list[str] = []
        uncovered: list[str] = []
        for each in ARTICLE_VALUES:
            found = registry.find(each.path, each.name)
            if each.check != check or (found.number is not None and bool(found.number) is bool(each.number)):
                continue
            (wrong if found.is_covered else uncovered).append(f"{each.path}: {each.name}")
        state = CheckState.NO if wrong else CheckState.UNKNOWN if uncovered else CheckState.YES
        parts = [f"missing or other: {', '.join(wrong)}"] * bool(wrong)
        parts += [f"not covered by the file: {', '.join(uncovered)}"] * bool(uncovered)
        checks.append(Check(id=check, title=title, state=state, detail="; ".join(parts) or "all set"))
    is_there = any(path == MISPRINTED or path.startswith(f"{MISPRINTED}\\") for path in registry.paths)
    state = CheckState.YES if is_there else CheckState.NO if registry.covers(MISPRINTED) else CheckState.UNKNOWN
    detail = {
        CheckState.YES: f"{MISPRINTED} is there; .NET does not read it: the path has a backslash before .NETFramework",
        CheckState.NO: "no such key",
        CheckState.UNKNOWN: "the file does not cover it",
    }
    title = "Values stand at the .NET path as the article misprints it"
    checks.append(Check(id="article-misprinted-dotnet-path", title=title, state=state, detail=detail[state]))
    return tuple(checks)

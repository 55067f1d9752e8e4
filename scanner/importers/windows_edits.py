"""The registry values that give a Windows host TLS 1.2: as .reg text, as PowerShell, as commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scanner.importers.edits import Attachment, Remedy, Wants
from scanner.importers.registry_model import RegistryExport
from scanner.importers.schannel import Registry
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_PROTOCOLS = r"SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
_DOTNET = (
    r"SOFTWARE\Microsoft\.NETFramework\v4.0.30319",
    r"SOFTWARE\Wow6432Node\Microsoft\.NETFramework\v4.0.30319",
    r"SOFTWARE\Microsoft\.NETFramework\v2.0.50727",
    r"SOFTWARE\Wow6432Node\Microsoft\.NETFramework\v2.0.50727",
)
_CITATION = "https://learn.microsoft.com/entra/identity/devices/reference-device-registration-tls-1-2"
_RESTART = "restart the server"
_FILE_NAME = "Enable-Tls12"
_CAUTIONS = (
    (
        f"The script (`{_FILE_NAME}.ps1`, as an administrator; first with `-WhatIf`) saves the keys before it sets "
        "anything; before the other ways do that by hand, with `reg export`. Importing what was saved brings back the "
        "old values, and does not remove those that were not there."
    ),
    (
        "The article asks for the values of TLS 1.2 and for SchUseStrongCrypto. SystemDefaultTlsVersions, the "
        "Wow6432Node keys and those of .NET Framework 2.0 to 3.5 are what Microsoft recommends beside them."
    ),
    "Not verified: neither file was run on Windows when this program was made.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One value to set, a REG_DWORD."""

    key: str
    """Its key below HKEY_LOCAL_MACHINE, as Microsoft writes it."""
    name: str
    """Its name."""
    number: int
    """0 or 1."""


def wanted_values(wants: Wants) -> tuple[Wanted, ...]:
    """Return every value to set, key by key."""
    found: list[Wanted] = []
    for version in ALL_VERSIONS:
        is_old = version < TlsVersion.TLS1_2
        if version is TlsVersion.TLS1_2 or (is_old and wants.disable_old):
            for side in ("Client", "Server"):
                key = rf"{_PROTOCOLS}\{version.title}\{side}"
                found.append(Wanted(key=key, name="DisabledByDefault", number=int(is_old)))
                found.append(Wanted(key=key, name="Enabled", number=int(not is_old)))
    for key in _DOTNET:
        found += [Wanted(key=key, name=name, number=1) for name in ("SchUseStrongCrypto", "SystemDefaultTlsVersions")]
    return tuple(found)


def render_reg(values: Iterable[Wanted]) -> str:
    """Return a .reg file (version 5) with CRLF; write it as UTF-16LE with a byte order mark."""
    lines = ["Windows Registry Editor Version 5.00"]
    last = ""
    for each in values:
        if each.key != last:
            lines += ["", rf"[HKEY_LOCAL_MACHINE\{each.key}]"]
            last = each.key
        lines.append(f'"{each.name}"=dword:{each.number:08x}')
    return "\r\n".join([*lines, "", ""])


def render_powershell(values: Iterable[Wanted]) -> str:
    """Return a script for Windows PowerShell 5.1 that saves the keys and then sets the values; knows -WhatIf."""
    rows = [f"    @{{ Key = '{each.key}'; Name = '{each.name}'; Number = {each.number} }}" for each in values]
    return _SCRIPT.replace("@VALUES@", "\n".join(rows)).replace("\n", "\r\n")


def plan_edits_for_export(export: RegistryExport, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return what sets the values that the export lacks, or nothing where it has them all.

    A value of a key that the export does not cover is left alone: another export may have it.
    """
    registry = Registry(export)
    values = []
    for each in wanted_values(wants):
        found = registry.find(rf"HKEY_LOCAL_MACHINE\{each.key}".upper(), each.name)
        is_right = found.number is not None and bool(found.number) is bool(each.number)
        if found.is_covered and not is_right:
            values.append(each)
    if not values:
        return ()
    title = "Have Windows use TLS 1.2 and nothing older" if wants.disable_old else "Have Windows use TLS 1.2"
    commands = [f'reg add "HKLM\\{each.key}" /v {each.name} /t REG_DWORD /d {each.number} /f' for each in values]
    return (
        Remedy(
            title=title,
            attachments=(
                Attachment(name=f"{_FILE_NAME}.reg", text=f"\ufeff{render_reg(values)}", encoding="utf-16-le"),
                Attachment(name=f"{_FILE_NAME}.ps1", text=render_powershell(values)),
            ),
            commands=tuple(commands),
            check_commands=tuple(f'reg query "HKLM\\{key}"' for key in dict.fromkeys(each.key for each in values)),
            activate=_RESTART,
            citation=_CITATION,
            cautions=_CAUTIONS,
        ),
    )


_SCRIPT = r"""#Requires -RunAsAdministrator
[CmdletBinding(SupportsShouldProcess = $true)]
param([string]$BackupFolder = (Join-Path $env:TEMP ('tls-backup-' + (Get-Date -Format yyyyMMddHHmmss))))
$ErrorActionPreference = 'Stop'
$values = @(
@VALUES@
)
if ($PSCmdlet.ShouldProcess($BackupFolder, 'save the keys')) {
    New-Item -ItemType Directory -Path $BackupFolder -Force | Out-Null
    $count = 0
    foreach ($key in ($values | ForEach-Object { $_.Key } | Select-Object -Unique)) {
        $count++
        if (Test-Path -LiteralPath "HKLM:\$key") {
            reg.exe export "HKLM\$key" (Join-Path $BackupFolder "$count.reg") /y | Out-Null
            if ($LASTEXITCODE -ne 0) { throw "could not save HKLM\${key}: nothing was changed" }
        }
    }
}
foreach ($value in $values) {
    $path = 'HKLM:\' + $value.Key
    if ($PSCmdlet.ShouldProcess("$path $($value.Name)", "set to $($value.Number)")) {
        # New-Item -Force would empty a key that is there.
        if (-not (Test-Path -LiteralPath $path)) { New-Item -Path $path -Force | Out-Null }
        New-ItemProperty -LiteralPath $path -Name $value.Name -Value $value.Number -PropertyType DWord -Force |
            Out-Null
    }
}
Write-Warning 'Restart the server: the settings hold after that.'
"""

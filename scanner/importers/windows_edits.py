"""The registry values that give a Windows host TLS 1.2: as .reg text, as PowerShell, as commands. Pure."""

from __future__ import annotations

from scanner.importers.edits import Remedy, Wants
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


def wanted_values(wants: Wants) -> tuple[tuple[str, str, int], ...]:
    """Return (key below HKEY_LOCAL_MACHINE, name, DWORD) of every value to set, key by key."""
    found = []
    for version in ALL_VERSIONS:
        is_old = version < TlsVersion.TLS1_2
        if version is TlsVersion.TLS1_2 or (is_old and wants.disable_old):
            for side in ("Client", "Server"):
                key = rf"{_PROTOCOLS}\{version.title}\{side}"
                found += [(key, "DisabledByDefault", int(is_old)), (key, "Enabled", int(not is_old))]
    for key in _DOTNET:
        found += [(key, "SchUseStrongCrypto", 1), (key, "SystemDefaultTlsVersions", 1)]
    return tuple(found)


def render_reg(wants: Wants) -> str:
    """Return a .reg file (version 5) with CRLF; write it as UTF-16LE with a byte order mark."""
    lines = ["Windows Registry Editor Version 5.00"]
    last = ""
    for key, name, number in wanted_values(wants):
        if key != last:
            lines += ["", rf"[HKEY_LOCAL_MACHINE\{key}]"]
            last = key
        lines.append(f'"{name}"=dword:{number:08x}')
    return "\r\n".join([*lines, "", ""])


def render_powershell(wants: Wants) -> str:
    """Return a script for Windows PowerShell 5.1 that saves the keys and then sets the values; knows -WhatIf."""
    lines = [
        "#Requires -RunAsAdministrator",
        "[CmdletBinding(SupportsShouldProcess = $true)]",
        "param([string]$BackupFolder = (Join-Path $env:TEMP ('tls-backup-' + (Get-Date -Format yyyyMMddHHmmss))))",
        "$ErrorActionPreference = 'Stop'",
        "$values = @(",
        *(
            f"    @{{ Key = '{key}'; Name = '{name}'; Number = {number} }}"
            for key, name, number in wanted_values(wants)
        ),
        ")",
        "if ($PSCmdlet.ShouldProcess($BackupFolder, 'save the keys')) {",
        "    New-Item -ItemType Directory -Path $BackupFolder -Force | Out-Null",
        "    $count = 0",
        "    foreach ($key in ($values | ForEach-Object { $_.Key } | Select-Object -Unique)) {",
        "        $count++",
        '        if (Test-Path "HKLM:\\$key") {',
        '            reg.exe export "HKLM\\$key" (Join-Path $BackupFolder "$count.reg") /y | Out-Null',
        '            if ($LASTEXITCODE -ne 0) { throw "could not save HKLM\\$key: nothing was changed" }'.replace(
            "$key:", "${key}:"
        ),
        "        }",
        "    }",
        "}",
        "foreach ($value in $values) {",
        "    $path = 'HKLM:\\' + $value.Key",
        '    if ($PSCmdlet.ShouldProcess("$path $($value.Name)", "set to $($value.Number)")) {',
        "        if (-not (Test-Path $path)) { New-Item -Path $path -Force | Out-Null }",
        "        New-ItemProperty -Path $path -Name $value.Name -Value $value.Number -PropertyType DWord -Force |",
        "            Out-Null",
        "    }",
        "}",
        "Write-Warning 'Restart the server: the settings hold after that.'",
    ]
    return "\r\n".join([*lines, ""])


def plan_edits_for_export(export: RegistryExport, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the commands that set what the export lacks, or nothing where it has it all."""
    registry = Registry(export)
    commands, keys = [], []
    for key, name, number in wanted_values(wants):
        found = registry.find(rf"HKEY_LOCAL_MACHINE\{key}".upper(), name).number
        if found is None or bool(found) is not bool(number):
            commands.append(f'reg add "HKLM\\{key}" /v {name} /t REG_DWORD /d {number} /f')
            keys.append(key)
    if not commands:
        return ()
    title = "Have Windows use TLS 1.2 and nothing older" if wants.disable_old else "Have Windows use TLS 1.2"
    return (
        Remedy(
            title=title,
            commands=tuple(commands),
            check_commands=tuple(f'reg query "HKLM\\{key}"' for key in dict.fromkeys(keys)),
            activate=_RESTART,
            citation=_CITATION,
            cautions=("Save the keys first: reg export.",),
        ),
    )

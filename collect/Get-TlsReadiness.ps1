<#
.SYNOPSIS
    Writes what decides about TLS versions on this computer as JSON, for "entra-tls audit".

.DESCRIPTION
    Reads and changes nothing but the file it writes. Needs Windows PowerShell 5.1 and no module. Run it as an
    administrator: without that, bindings and some keys can't be read, and what can't be read is left out.

    It collects: computer name, Windows version, last boot time; under Schannel's Protocols key, the .NET Framework keys and
    the WinHTTP keys the values that are numbers, and when each key was last written; the bindings of http.sys; and whether
    AD FS or the Web Application Proxy is here. Values that are no numbers are named, and their data is not collected.

.PARAMETER Path
    File to write. Default: <computer name>.tls.json in the current folder.

.EXAMPLE
    powershell.exe -NoProfile -ExecutionPolicy Bypass -File .\Get-TlsReadiness.ps1 -Path .\sts1.tls.json

.EXAMPLE
    entra-tls audit sts1.tls.json --run latest --db runs.sqlite --html report.html
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [string]$Path = (Join-Path (Get-Location).ProviderPath ($env:COMPUTERNAME + '.tls.json'))
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$roots = @(
    'SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols'
    'SOFTWARE\Microsoft\.NETFramework\v4.0.30319'
    'SOFTWARE\Microsoft\.NETFramework\v2.0.50727'
    'SOFTWARE\Wow6432Node\Microsoft\.NETFramework\v4.0.30319'
    'SOFTWARE\Wow6432Node\Microsoft\.NETFramework\v2.0.50727'
    'SOFTWARE\Microsoft.NETFramework'
    'SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings\WinHttp'
    'SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Internet Settings\WinHttp'
)
$types = @{ DWord = 'REG_DWORD'; QWord = 'REG_QWORD'; String = 'REG_SZ'; ExpandString = 'REG_EXPAND_SZ'
    MultiString = 'REG_MULTI_SZ'; Binary = 'REG_BINARY'; None = 'REG_NONE' }

# No cmdlet tells when a key was written. Where compiling is forbidden the times are left out.
$canReadTimes = $true
try {
    Add-Type -Namespace EntraTls -Name Registry -MemberDefinition @'
[DllImport("advapi32.dll", CharSet = CharSet.Unicode)]
public static extern int RegQueryInfoKey(
    Microsoft.Win32.SafeHandles.SafeRegistryHandle key, System.IntPtr className, System.IntPtr classLength,
    System.IntPtr reserved, System.IntPtr subKeys, System.IntPtr longestSubKey, System.IntPtr longestClass,
    System.IntPtr values, System.IntPtr longestName, System.IntPtr longestValue, System.IntPtr security,
    out long lastWriteTime);
'@
} catch {
    $canReadTimes = $false
    Write-Warning 'When the keys were written can not be read on this computer.'
}

function Get-KeyWriteTime($Key) {
    if (-not $canReadTimes) { return $null }
    $time = [long]0
    $none = [IntPtr]::Zero
    $code = [EntraTls.Registry]::RegQueryInfoKey(
        $Key.Handle, $none, $none, $none, $none, $none, $none, $none, $none, $none, $none, [ref]$time)
    if ($code -ne 0) { return $null }
    return [DateTime]::FromFileTimeUtc($time).ToString('o')
}

function Get-KeyTree($Base, $SubPath) {
    $key = $Base.OpenSubKey($SubPath, $false)
    if ($null -eq $key) { return }
    $values = @()
    foreach ($name in $key.GetValueNames()) {
        $kind = $key.GetValueKind($name).ToString()
        $value = @{ name = $name; type = '(unknown)' }
        if ($types.ContainsKey($kind)) { $value.type = $types[$kind] }
        if ($kind -eq 'DWord' -or $kind -eq 'QWord') { $value.number = $key.GetValue($name) }
        $values += $value
    }
    @{ path = 'HKEY_LOCAL_MACHINE\' + $SubPath; written_at = (Get-KeyWriteTime $key); values = $values }
    foreach ($child in $key.GetSubKeyNames()) { Get-KeyTree $Base ($SubPath + '\' + $child) }
    $key.Close()
}

# A 32-bit PowerShell would see other keys.
$view = [Microsoft.Win32.RegistryView]::Default
if ([Environment]::Is64BitOperatingSystem) { $view = [Microsoft.Win32.RegistryView]::Registry64 }
$base = [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::LocalMachine, $view)
$keys = @()
$covered = @()
foreach ($root in $roots) {
    try {
        $keys += @(Get-KeyTree $base $root)
        $covered += 'HKEY_LOCAL_MACHINE\' + $root
    } catch {
        Write-Warning "HKEY_LOCAL_MACHINE\$root can not be read; it is left out."
    }
}

$system = Get-CimInstance -ClassName Win32_OperatingSystem
$bindings = $null
try {
    $lines = & netsh.exe http show sslcert
    if ($LASTEXITCODE -eq 0) { $bindings = $lines -join "`n" }
} catch {
    Write-Warning 'The bindings of http.sys can not be read; they are left out.'
}

$adfs = @{}
foreach ($name in 'adfssrv', 'appproxysvc') {
    $service = Get-Service -Name $name -ErrorAction SilentlyContinue
    if ($null -ne $service) { $adfs[$name] = $service.Status.ToString() }
}
if (Get-Command -Name Get-AdfsProperties -ErrorAction SilentlyContinue) {
    try {
        $properties = Get-AdfsProperties
        $adfs['federation_service_name'] = [string]$properties.HostName
        $adfs['https_port'] = [int]$properties.HttpsPort
        $adfs['tls_client_port'] = [int]$properties.TlsClientPort
    } catch {
        Write-Warning 'The properties of AD FS can not be read; they are left out.'
    }
}

$document = @{
    schema = 'entra-tls-windows-1'
    computer_name = [Net.Dns]::GetHostName()
    os = @{ build = $system.Version; product_name = $system.Caption }
    last_boot_at = $system.LastBootUpTime.ToUniversalTime().ToString('o')
    collected_at = (Get-Date).ToUniversalTime().ToString('o')
    roots = $covered
    keys = $keys
    netsh_sslcert = $bindings
    adfs = $adfs
}
[IO.File]::WriteAllText($Path, (ConvertTo-Json -InputObject $document -Depth 8), (New-Object Text.UTF8Encoding $false))
Write-Output "wrote $Path"

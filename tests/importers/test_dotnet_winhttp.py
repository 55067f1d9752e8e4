from scanner.importers.dotnet_winhttp import BITS, dotnet_path
from scanner.model.versions import TlsVersion


def test_0xa00_is_tls_1_1_and_1_2():
    assert BITS[TlsVersion.TLS1_1] | BITS[TlsVersion.TLS1_2] == 0xA00


def test_32_bit_programs_read_wow6432node():
    assert dotnet_path(4, is_64=False) == r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432NODE\MICROSOFT\.NETFRAMEWORK\V4.0.30319"

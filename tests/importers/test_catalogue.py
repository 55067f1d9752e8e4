"""Which kind a file is; samples written by hand."""

import gzip
import io
import json
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.catalogue import IMPORTERS, choose_importer, maybe_archive
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile

SAMPLES = {
    "nginx": b"events {}\nhttp {\n  server {\n    listen 443 ssl;\n    ssl_protocols TLSv1.2;\n  }\n}\n",
    "apache": b"Listen 443\n<VirtualHost *:443>\n  SSLEngine on\n  SSLProtocol -all +TLSv1.2\n</VirtualHost>\n",
    "squid": b"http_port 3128\nacl all src all\nhttp_access allow all\ncache_peer a parent 443 0 tls\n",
}

_KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client"
SAMPLES |= {
    "reg": f'Windows Registry Editor Version 5.00\r\n\r\n[{_KEY}]\r\n"Enabled"=dword:00000001\r\n'.encode("utf-16"),
    "reg-query": f"\r\n{_KEY}\r\n    Enabled    REG_DWORD    0x1\r\n\r\n".encode(),
    "windows-json": json.dumps({"schema": "entra-tls-windows-1", "roots": [_KEY], "keys": []}).encode(),
    "netsh-sslcert": (
        b"\r\nSSL Certificate bindings: \r\n-------------------------\r\n\r\n"
        b"    IP:port                      : 0.0.0.0:443\r\n    Certificate Hash             : 00ff\r\n"
    ),
}
SAMPLES |= {
    "haproxy": b"frontend sts\n    mode http\n    bind :443 ssl crt /etc/haproxy/sts.pem ssl-min-ver TLSv1.2\n",
    "stunnel": b"[https]\naccept = 443\nconnect = 127.0.0.1:80\ncert = /etc/stunnel/a.pem\nsslVersionMin = TLSv1.2\n",
    "f5": (
        b"#TMSH-VERSION: 16.1.2\n\nltm profile client-ssl /Common/own {\n    defaults-from /Common/clientssl\n"
        b"    options { dont-insert-empty-fragments no-tlsv1 }\n}\nltm virtual /Common/web {\n"
        b"    destination /Common/192.0.2.10:443\n    profiles {\n        /Common/own {\n"
        b"            context clientside\n        }\n    }\n}\n"
    ),
    "netscaler": (
        b"#NS13.0 Build 47.24\nset ns config -IPAddress 192.0.2.1 -netmask 255.255.255.0\n"
        b"add lb vserver web SSL 192.0.2.10 443\nset ssl vserver web -tls1 DISABLED -tls11 DISABLED\n"
    ),
    "a10": (
        b"slb template client-ssl own\n  version 33 33\n!\nslb virtual-server web 192.0.2.10\n  port 443 https\n"
        b"    template client-ssl own\n!\nend\n"
    ),
}
WITHOUT_SAMPLE = {"hive"}
"""Binary: tests/importers/test_hive.py has them written by libhivex."""


def of(data, name="file"):
    return SourceFile(name=name, data=data)


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_kind_is_recognised_by_its_content_alone(kind):
    assert choose_importer(of(SAMPLES[kind])).id == kind


@pytest.mark.parametrize("importer", [each for each in IMPORTERS if each.id in SAMPLES], ids=lambda each: each.id)
def test_a_reading_names_its_importer(importer):
    reading = importer.read(of(SAMPLES[importer.id]), EMPTY_FOLDER, ReadOptions())
    assert (reading.importer, reading.file, bool(reading.legs)) == (importer.id, "file", True)


def test_every_kind_has_a_sample_here():
    assert {importer.id for importer in IMPORTERS} == set(SAMPLES) | WITHOUT_SAMPLE


def test_the_user_may_say_what_a_file_is():
    assert choose_importer(of(b"# empty\n"), "squid").id == "squid"


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(ReadError, match=r"no kind of file 'word'; there are nginx, apache, squid"):
        choose_importer(of(b""), "word")


@pytest.mark.parametrize("data", [b"", b"Dear Sir or Madam,\n", b"\x7fELF\x02\x01\x01", b"<html></html>"])
def test_a_file_that_no_importer_knows_is_refused(data):
    with pytest.raises(ReadError, match=r"^letter is no file that is known; --as says what it is"):
        choose_importer(of(data, "letter"))


def _zip():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("nginx.conf", SAMPLES["nginx"])
    return held.getvalue()


def _tar():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        info = tarfile.TarInfo("nginx.conf")
        info.size = len(SAMPLES["nginx"])
        archive.addfile(info, io.BytesIO(SAMPLES["nginx"]))
    return held.getvalue()


ARCHIVES = {"a zip archive": _zip(), "a tar archive": _tar(), "gzip data": gzip.compress(b"x", mtime=0)}


@pytest.mark.parametrize("words", ARCHIVES)
@pytest.mark.parametrize("wanted", [None, "nginx"])
def test_archives_are_refused_and_not_unpacked(words, wanted):
    with pytest.raises(ReadError, match=rf"^nginx.conf is {words}: unpack it"):
        choose_importer(of(ARCHIVES[words], "nginx.conf"), wanted)


@given(st.binary(max_size=300))
def test_bytes_raise_nothing_but_a_read_error(data):
    assert maybe_archive(data) is None or maybe_archive(data).startswith(("a ", "gzip", "bzip2", "xz", "zstd"))
    try:
        chosen = choose_importer(of(data))
    except ReadError:
        return
    assert chosen in IMPORTERS

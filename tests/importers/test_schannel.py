from scanner.importers.schannel import schannel_path
from scanner.model.versions import TlsVersion


def test_the_key_of_tls_1_2_client_has_a_space_in_its_name():
    assert schannel_path(TlsVersion.TLS1_2, is_client=True).endswith(r"\SCHANNEL\PROTOCOLS\TLS 1.2\CLIENT")

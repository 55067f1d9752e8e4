"""tlslite-ng's tables and parsers, as a second opinion. Importing it warns about asyncore, which it need not use."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from tlslite.constants import AlertDescription, CipherSuite, SignatureScheme
    from tlslite.messages import ClientHello
    from tlslite.utils.codec import Parser

__all__ = ["AlertDescription", "CipherSuite", "ClientHello", "Parser", "SignatureScheme"]

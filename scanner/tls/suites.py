"""Cipher suite and group code points, grouped for the hello variants.

Numbers are those of the IANA registries "TLS Cipher Suites" and "TLS Supported Groups", with the historic ones that
servers of the SSL era still answer to: Fortezza (RFC 6101), export-1024 (draft-ietf-tls-56-bit-ciphersuites-01),
Netscape's FIPS suites, draft ChaCha20 and draft GOST.
"""

from __future__ import annotations

from itertools import chain

EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF
"""RFC 5746 section 3.3. Sent always: some servers refuse a hello that has neither it nor the extension."""

_TLS13 = (0x1301, 0x1302, 0x1303, 0x1304, 0x1305)
_TLS13_EXOTIC = (0x00C6, 0x00C7, 0x1306, 0x1307, 0xC0B4, 0xC0B5, 0xC103, 0xC104, 0xC105, 0xC106)

FOR_TLS13 = frozenset((*_TLS13, *_TLS13_EXOTIC))
"""Suites of TLS 1.3, and of no version before it."""

# Static RSA first: the server need not sign, which makes the question cheaper for both sides.
_RSA_AES = (0x002F, 0x0035, 0x009C, 0x009D, 0x003C, 0x003D)
_ECDHE_COMMON = (
    *(0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014),
    *(0xC023, 0xC027, 0xC024, 0xC028),
)
_DHE_COMMON = (0x009E, 0x009F, 0xCCAA, 0x0033, 0x0039, 0x0067, 0x006B)
_3DES_RC4 = (0x000A, 0x0016, 0xC008, 0xC012, 0x0005, 0x0004, 0xC007, 0xC011)
_DSS_COMMON = (0x0032, 0x0038, 0x0013, 0x0040, 0x006A, 0x00A2, 0x00A3)

COMPACT_LEGACY = (*_RSA_AES, *_ECDHE_COMMON, *_DHE_COMMON, *_3DES_RC4)
"""Suites up to TLS 1.2 that nearly every server shares at least one of (35)."""

COMPACT_TLS13 = (*_TLS13, 0x002F, 0x0035, 0xC02F, 0xC02B, 0xC013)
"""For a TLS 1.3 hello under 256 bytes; the older suites let an older server answer instead of fail."""

_CCM = (*range(0xC09C, 0xC0A0), *range(0xC0A0, 0xC0A4), *range(0xC0AC, 0xC0B0))
_DES_IDEA = (0x0009, 0x0007, 0x000C, 0x000F, 0x0012, 0x0015)
_STATIC_DH = (
    *(0x000D, 0x0010, 0x0030, 0x0031, 0x0036, 0x0037, 0x003E, 0x003F, 0x0068, 0x0069, 0x00A0, 0x00A1, 0x00A4, 0x00A5),
    *(0xC002, 0xC003, 0xC004, 0xC005, 0xC00C, 0xC00D, 0xC00E, 0xC00F),
    *(0xC025, 0xC026, 0xC029, 0xC02A, 0xC02D, 0xC02E, 0xC031, 0xC032),
)
_ANONYMOUS = (
    *(0x0018, 0x001A, 0x001B, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7),
    *(0xC016, 0xC017, 0xC018, 0xC019),
)
_NULL = (0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010, 0xC015, 0x002C, 0x002D, 0x002E)
_NULL_PSK = (0x00B0, 0x00B1, 0x00B4, 0x00B5, 0x00B8, 0x00B9, 0xC039, 0xC03A, 0xC03B)
_EXPORT = (0x0003, 0x0006, 0x0008, 0x000B, 0x000E, 0x0011, 0x0014, 0x0017, 0x0019, *range(0x0060, 0x0067))
_PSK = (
    *range(0x008A, 0x0096),
    *range(0x00A8, 0x00B0),
    *(0x00B2, 0x00B3, 0x00B6, 0x00B7),
    *range(0xC033, 0xC039),
    *range(0xC0A4, 0xC0AC),
    *(0xCCAB, 0xCCAC, 0xCCAD, 0xCCAE, 0xD001, 0xD002, 0xD003, 0xD005),
)

# ARIA and Camellia with GCM or SHA-256 that the short forms have room for: all but those with PSK, and but for
# ARIA-CBC with DH_DSS or no certificate. docs/method.md names this limit.
_NATIONAL_LEFT = tuple(
    suite
    for suite in (*range(0xC03C, 0xC064), *range(0xC072, 0xC08E))
    if suite not in {0xC040, 0xC041, 0xC046, 0xC047, 0xC058, 0xC059}
)
_NATIONAL_LIKELY = (
    *(0xC072, 0xC073, 0xC076, 0xC077, 0xC07A, 0xC07B, 0xC086, 0xC087, 0xC08A, 0xC08B),
    *(0xC03C, 0xC03D, 0xC050, 0xC051, 0xC05C, 0xC05D, 0xC060, 0xC061, 0xC048, 0xC049, 0xC04C, 0xC04D),
)
_NATIONAL_UNLIKELY = tuple(suite for suite in _NATIONAL_LEFT if suite not in _NATIONAL_LIKELY)

RARE_LEGACY = (
    *(*_DSS_COMMON, *_CCM, *_DES_IDEA, *_ANONYMOUS, *_EXPORT, *_NULL, *_NULL_PSK, *_PSK),
    *_NATIONAL_UNLIKELY[11:],
)
"""Suites of servers set up for one odd purpose. At most 150 with 0x00ff: wolfSSL answers decode_error to more."""

_KERBEROS = tuple(range(0x001E, 0x002C))
_FORTEZZA = (0x001C, 0x001D)
_CAMELLIA = (
    *range(0x0041, 0x0047),
    *range(0x0084, 0x008A),
    *range(0x00BA, 0x00C6),
    *range(0xC072, 0xC09C),
)
_SEED = tuple(range(0x0096, 0x009C))
_SRP = tuple(range(0xC01A, 0xC023))
_ARIA = tuple(range(0xC03C, 0xC072))
_GOST_SM = (
    *(0x0080, 0x0081, 0x0082, 0x0083, 0xC100, 0xC101, 0xC102, 0xFF00, 0xFF01, 0xFF02, 0xFF03, 0xFF85, 0xFF87),
    *(0xE011, 0xE013, 0xE051, 0xE053),
)
_ECCPWD = tuple(range(0xC0B0, 0xC0B4))
_DRAFT_CHACHA = (0xCC13, 0xCC14, 0xCC15, 0xCCA1, 0xCCA2, 0xCCA3)
_NETSCAPE_FIPS = (0xFEFE, 0xFEFF, 0xFFE0, 0xFFE1)
# BoringSSL's CECPQ1 experiment of 2016 and mbedTLS's EC J-PAKE (Thread): in the long form alone.
_EXPERIMENTS = (0x16B7, 0x16B8, 0x16B9, 0x16BA, 0xC0FF)

EXOTIC_LEGACY = (
    *(*_DRAFT_CHACHA, *_GOST_SM, *_SEED, *_NETSCAPE_FIPS, *_FORTEZZA, *_ECCPWD, *_SRP, *_KERBEROS),
    *_STATIC_DH,
    *(suite for suite in _CAMELLIA if suite < 0xC000),
    *_NATIONAL_LIKELY,
    *_NATIONAL_UNLIKELY[:11],
)
"""National and nearly forgotten suites. At most 150, as above."""

BROAD_LEGACY = tuple(
    dict.fromkeys(
        chain(
            COMPACT_LEGACY,
            _DSS_COMMON,
            _CCM,
            EXOTIC_LEGACY,
            _CAMELLIA,
            _ARIA,
            _DES_IDEA,
            _NULL,
            _EXPORT,
            _ANONYMOUS,
            _NULL_PSK,
            _PSK,
            _EXPERIMENTS,
        )
    )
)
"""Every suite up to TLS 1.2, the likeliest first; NULL, export, anonymous and PSK last."""

BROAD_TLS13 = (*_TLS13, *_TLS13_EXOTIC, *(suite for suite in BROAD_LEGACY if suite not in _TLS13_EXOTIC))
"""Every suite there is: an older server then answers a TLS 1.3 hello with its own best version."""

SSL2_ALL = (
    *(0x010080, 0x020080, 0x030080, 0x040080, 0x050080, 0x060040, 0x0700C0),
    *(0x060140, 0x0701C0, 0x080080, 0xFF8000, 0xFF8010, 0x000000),
)
"""SSLv2 CIPHER-KINDs (draft-hickman-netscape-ssl-00 section C.4, SSLeay's additions), NULL last."""

SSL2_COMMON = SSL2_ALL[:7]
"""The seven of the draft."""

GROUPS_COMPACT = (29, 23, 24, 25)
"""x25519, secp256r1, secp384r1, secp521r1."""

GROUPS_ALL = (
    *(29, 23, 24, 25, 30),
    *(256, 257, 258, 259, 260),
    *(4588, 4587, 4589, 25497, 512, 513, 514),
    *(26, 27, 28, 31, 32, 33),
    *range(34, 42),
    *range(1, 23),
)
"""Every named group: common curves, X448, FFDHE (RFC 7919), ML-KEM hybrids, Brainpool, GOST, SM2, the old ones."""

SIGNATURE_ALGORITHMS_ALL = (
    *(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0807, 0x0808),
    *(0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0202, 0x0402, 0x0502, 0x0602, 0x0303, 0x0301, 0x0302),
    *(0x081A, 0x081B, 0x081C, 0x0708, 0x0709, 0x070A, 0x070B, 0x070C, 0x070D, 0x070E, 0x070F, 0x0904, 0x0905, 0x0906),
    *(0xEEEE, 0xEFEF, 0xEDED, 0x0101, 0x0103),
)
"""RFC 8446 section 4.2.3 schemes, RFC 5246 pairs with SHA-1, DSA and MD5, Brainpool, SM2, GOST, ML-DSA."""

SIGNATURE_ALGORITHMS_COMPACT = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
"""ECDSA, RSA-PSS and RSA PKCS #1 with SHA-2, and the two SHA-1 pairs."""

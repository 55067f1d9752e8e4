"""Reading a 50,000-line F5 and NetScaler configuration, beside splitting its lines into words and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.measure import Spread
from bench.tables import Section, at_most, shown_spread, table
from scanner.importers import f5, netscaler
from scanner.importers.source import EMPTY_FOLDER, ReadOptions, SourceFile
from scanner.model.declared import Reading

LINES_COUNT = 50_000
MOST_S = 5.0
AIM = "configs: a 50,000-line {} configuration is read in seconds (at most 5 s)"


def build_f5(lines_count: int) -> SourceFile:
    """Return a bigip.conf: each site with a virtual server, both profiles, a pool, an iRule and what is beside it."""
    sites = ["#TMSH-VERSION: 15.1.2.1\n"]
    lines, at = 1, 0
    while lines < lines_count:
        host = f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}"
        site = f"""ltm node /Common/n{at} {{
    address {host}
}}
ltm pool /Common/p{at} {{
    members {{
        /Common/n{at}:443 {{
            address {host}
        }}
    }}
    monitor /Common/https
}}
ltm profile client-ssl /Common/in{at} {{
    app-service none
    cert-key-chain {{
        c{at} {{
            cert /Common/c{at}.crt
            key /Common/c{at}.key
            passphrase $M$not-a-secret
        }}
    }}
    ciphers DEFAULT:!TLSv1
    defaults-from /Common/{f"in{at - 1}" if at % 100 else "clientssl"}
    options {{ dont-insert-empty-fragments no-sslv3 no-tlsv1 no-tlsv1.1 }}
    server-name site{at}.example.com
}}
ltm profile server-ssl /Common/out{at} {{
    app-service none
    defaults-from /Common/serverssl
    description "a description in quotes"
}}
ltm rule /Common/r{at} {{
    when HTTP_REQUEST {{
        if {{ [HTTP::uri] starts_with "/x" }} {{ HTTP::redirect "https://x/" }}
    }}
}}
ltm virtual /Common/vs{at} {{
    destination /Common/{host}%1:443
    ip-protocol tcp
    pool /Common/p{at}
    profiles {{
        /Common/http {{ }}
        /Common/in{at} {{
            context clientside
        }}
        /Common/out{at} {{
            context serverside
        }}
        /Common/tcp {{ }}
    }}
    rules {{
        /Common/r{at}
    }}
    source 0.0.0.0/0
}}
"""
        sites.append(site)
        lines += site.count("\n")
        at += 1
    return SourceFile(name="bigip.conf", data="".join(sites).encode())


def build_netscaler(lines_count: int) -> SourceFile:
    """Return an ns.conf: each site with a virtual server, a service group, both profiles and what is beside it."""
    sites = ["#NS13.1 Build 51.15\nset ssl parameter -defaultProfile ENABLED\n"]
    lines, at = 2, 0
    while lines < lines_count:
        host = f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}"
        site = f"""add server s{at} {host}
add serviceGroup sg{at} SSL -maxClient 0 -maxReq 0 -cip DISABLED -usip NO -useproxyport YES
add lb vserver "vs {at}" SSL {host} 443 -persistenceType COOKIEINSERT -timeout 0 -cltTimeout 180
add responder policy rp{at} "HTTP.REQ.URL.STARTSWITH(\\"/x\\")" DROP
bind lb vserver "vs {at}" sg{at}
bind serviceGroup sg{at} s{at} 443
add ssl profile in{at} -ssl3 DISABLED -tls1 DISABLED -tls11 DISABLED
add ssl profile out{at} -sslProfileType BackEnd -tls1 DISABLED -tls11 DISABLED
set ssl vserver "vs {at}" -sslProfile in{at}
set ssl serviceGroup sg{at} -sslProfile out{at}
bind ssl vserver "vs {at}" -certkeyName c{at}
"""
        sites.append(site)
        lines += site.count("\n")
        at += 1
    return SourceFile(name="ns.conf", data="".join(sites).encode())


def split_lines(source: SourceFile) -> list[list[str]]:
    """Return each line's words: the least that any reading of such a file does."""
    return [line.split() for line in source.data.decode().split("\n")]


def read_f5(source: SourceFile) -> Reading:
    return f5.read(source, EMPTY_FOLDER, ReadOptions())


def read_netscaler(source: SourceFile) -> Reading:
    return netscaler.read(source, EMPTY_FOLDER, ReadOptions())


def measure_configs(*, runs: int, lines_count: int = LINES_COUNT) -> Section:
    """Return how long it takes, beside splitting; a file of twice the lines shows that time grows with them."""
    title = f"Reading a configuration of {lines_count:,} lines, in process"
    print(f"== {title}", flush=True)
    rows, targets = [], []
    for name, build, read in (("F5", build_f5, read_f5), ("NetScaler", build_netscaler, read_netscaler)):
        once, twice = build(lines_count), build(2 * lines_count)
        split, own, double = [], [], []
        for _ in range(runs):
            split.append(_seconds(split_lines, once))
            own.append(_seconds(read, once))
            double.append(_seconds(read, twice))
        spread = Spread.of(own)
        rows.append(
            [
                name,
                f"{len(split_lines(once)) - 1:,}",
                f"{len(once.data) / 1e6:.1f} MB",
                f"{len(read(once).legs):,}",
                shown_spread(spread, "s"),
                f"{Spread.of(split).median:.3f} s",
                shown_spread(Spread.of([ours / least for ours, least in zip(own, split, strict=True)]), "x"),
                shown_spread(Spread.of([much / little for much, little in zip(double, own, strict=True)]), "x"),
            ]
        )
        targets.append(at_most(AIM.format(name), spread, MOST_S, "s"))
        print("  " + "  ".join(rows[-1]), flush=True)
    heads = [
        "product",
        "lines",
        "size",
        "legs",
        "read, median (least to most)",
        "split lines",
        "ratio",
        "twice the lines",
    ]
    return Section(title=title, lines=table(heads, rows), targets=targets, commands=["python -m bench configs"])


def _seconds(work: Callable[[SourceFile], object], source: SourceFile) -> float:
    # A SourceFile keeps its decoded text: each time gets a new one.
    fresh = SourceFile(name=source.name, data=source.data)
    began = time.perf_counter()
    work(fresh)
    return time.perf_counter() - began

"""Where credentials come from, what is wrong with a file, and that no error or repr repeats a secret."""

from __future__ import annotations

import traceback

import pytest

from scanner.upgrade.credentials import MAX_FILE_BYTES, VARIABLE, Credentials, CredentialsError, read_credentials

SECRET = "sEcr3t-pässwörd"


def _write(tmp_path, data, mode=0o600):
    file = tmp_path / "proxies.txt"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    file.chmod(mode)
    return file


def _pair(credentials):
    return None if credentials is None else (credentials.user, credentials.password)


def test_the_variable_is_for_every_proxy():
    found = read_credentials({VARIABLE: f"alice:{SECRET}:with:colons "}, None)
    assert _pair(found.for_proxy("proxy.example", 3128)) == ("alice", f"{SECRET}:with:colons ")
    assert found.warnings == ()


@pytest.mark.parametrize("env", [{}, {VARIABLE: ""}])
def test_no_variable_is_no_credentials(env):
    assert read_credentials(env, None).for_proxy("proxy.example", 3128) is None


def test_the_most_exact_line_counts(tmp_path):
    file = _write(
        tmp_path,
        "\ufeff# who\n\n  Proxy.Example. a:1\r\nproxy.example:8080 b:2 3\n[2001:DB8::1]:3128\tc:4\n2001:db8::1 d:5\n"
        "192.0.2.7:80 e:\nf:6 7\n",
    )
    found = read_credentials({VARIABLE: "env:8"}, file)
    assert [
        _pair(found.for_proxy(host, port))
        for host, port in [
            ("proxy.example", 3128),
            ("PROXY.example", 8080),
            ("2001:db8::1", 3128),
            ("2001:db8:0::1", 1),
            ("192.0.2.7", 80),
            ("192.0.2.7", 81),
        ]
    ] == [("a", "1"), ("b", "2 3"), ("c", "4"), ("d", "5"), ("e", ""), ("f", "6 7")]


def test_the_variable_is_for_proxies_that_the_file_does_not_name(tmp_path):
    found = read_credentials({VARIABLE: "env:8"}, _write(tmp_path, "proxy.example a:1\n"))
    assert _pair(found.for_proxy("other.example", 1)) == ("env", "8")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_a_file_that_others_can_read_gets_a_warning(tmp_path, mode):
    file = _write(tmp_path, f"a:{SECRET}\n", mode)
    (warning,) = read_credentials({}, file).warnings
    assert str(file) in warning
    assert SECRET not in warning
    file.chmod(0o600)
    assert read_credentials({}, file).warnings == ()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (f"# x\n{SECRET}\n", ":2: there is no colon"),
        (f"proxy.example {SECRET}\n", ":1: there is no colon"),
        (f":{SECRET}\n", ":1: the user name is empty"),
        (f"proxy.example :{SECRET}\n", ":1: the user name is empty"),
        (f"proxy.example:0 a:{SECRET}\n", ":1: a port is 1 to 65535"),
        (f"proxy.example:65536 a:{SECRET}\n", ":1: a port is 1 to 65535"),
        (f"http://proxy.example a:{SECRET}\n", None),
        (f"pro/xy a:{SECRET}\n", ":1: a line is HOST"),
        (f"proxy.example two names:{SECRET}\n", ":1: a line is HOST"),
        (f"a:{SECRET}\x07\n", ":1: there is a control character"),
        (f"a:{SECRET}\nb:{SECRET}\n", ":2: line 1 is for all proxies too"),
        (f"p a:{SECRET}\nq a:b\nP. a:{SECRET}\n", ":3: line 1 is for this proxy too"),
        ("# nothing\n", "there are no credentials in it"),
        (b"a:b\np x:" + SECRET.encode("latin-1") + b"\n", "line 2 is not UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "it is longer than"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(tmp_path, data, what):
    file = _write(tmp_path, data)
    if what is None:  # a user called "http" with a strange password: nothing that could be known to be wrong
        assert _pair(read_credentials({}, file).otherwise)[0] == "http"
        return
    with pytest.raises(CredentialsError) as caught:
        read_credentials({}, file)
    assert what in str(caught.value)
    assert str(file) in str(caught.value)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not any(part in shown for part in ("sEcr3t", "ssw\\xf6rd"))


@pytest.mark.parametrize("text", [SECRET, f":{SECRET}", f"a:{SECRET}\n"])
def test_a_variable_that_is_wrong_is_named_and_not_shown(text):
    with pytest.raises(CredentialsError) as caught:
        read_credentials({VARIABLE: text}, None)
    assert VARIABLE in str(caught.value)
    assert "sEcr3t" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(CredentialsError, match="No such file"):
        read_credentials({}, tmp_path / "none")


@pytest.mark.parametrize(
    ("user", "password"), [("", "x"), ("a:b", "x"), ("a\n", "x"), ("a", "x\r\nX-Y: z"), ("a", "\x7f")]
)
def test_what_no_scheme_can_carry_is_refused(user, password):
    with pytest.raises(ValueError, match=r"user name|control character") as caught:
        Credentials(user, password)
    assert password not in str(caught.value).split()


def test_no_repr_shows_a_secret(tmp_path):
    found = read_credentials({VARIABLE: f"alice:{SECRET}"}, _write(tmp_path, f"p bob:{SECRET}2\n"))
    shown = f"{found!r} {found} {found.otherwise!r} {[found.for_proxy('p', 1)]}"
    assert "sEcr3t" not in shown
    assert "alice" not in shown

"""Files from disk: bounded, and includes from one folder only."""

import hashlib
import os

import pytest

from scanner import loading
from scanner.importers.source import IncludeRefusedError, ReadError
from scanner.loading import DiskFolder, load_file


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "conf"
    (root / "sites").mkdir(parents=True)
    (root / "main.conf").write_bytes(b"main")
    (root / "sites" / "b.conf").write_bytes(b"b")
    (root / "sites" / "a.conf").write_bytes(b"a")
    (tmp_path / "secret.conf").write_bytes(b"secret")
    return root


def test_a_file_has_its_name_its_content_and_its_digest(folder):
    file = load_file(folder / "main.conf")
    assert (file.name, file.data) == ("main.conf", b"main")
    assert file.sha256 == hashlib.sha256(b"main").hexdigest()


def test_a_file_that_is_too_large_is_refused_before_it_is_held_whole(folder, monkeypatch):
    monkeypatch.setattr(loading, "MOST_BYTES", 3)
    with pytest.raises(ReadError, match=r"^main.conf has more than"):
        load_file(folder / "main.conf")
    monkeypatch.setattr(loading, "MOST_BYTES", 4)
    assert load_file(folder / "main.conf").data == b"main"


def test_a_missing_file_a_folder_and_a_pipe_are_named(folder):
    with pytest.raises(ReadError, match=r"^none.conf: No such file or directory$"):
        load_file(folder / "none.conf")
    with pytest.raises(ReadError, match=r"^sites: Is a directory$|^sites is no regular file$"):
        load_file(folder / "sites")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ReadError, match=r"^pipe is no regular file$"):
        load_file(folder / "pipe")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("sites/*.conf", ["sites/a.conf", "sites/b.conf"]),
        ("sites/a.conf", ["sites/a.conf"]),
        ("*.conf", ["main.conf"]),
        ("none/*.conf", []),
        ("sites", []),
        ("**", []),
        (".", []),
        ("", []),
    ],
)
def test_includes_are_found_below_the_folder_sorted(folder, pattern, names):
    assert [file.name for file in DiskFolder(folder).find(pattern)] == names


def test_an_absolute_include_below_the_folder_is_found(folder):
    assert [file.data for file in DiskFolder(folder).find(f"{folder}/sites/a.conf")] == [b"a"]


@pytest.mark.parametrize("pattern", ["../secret.conf", "sites/../../secret.conf", "/etc/hostname", "a\0b"])
def test_an_include_that_leads_out_is_refused(folder, pattern):
    with pytest.raises(IncludeRefusedError):
        DiskFolder(folder).find(pattern)


def test_a_symbolic_link_that_leads_out_is_refused(folder):
    (folder / "sites" / "c.conf").symlink_to(folder.parent / "secret.conf")
    with pytest.raises(IncludeRefusedError, match="symbolic link"):
        DiskFolder(folder).find("sites/*.conf")


def test_a_symbolic_link_within_the_folder_is_followed(folder):
    (folder / "link.conf").symlink_to(folder / "sites" / "a.conf")
    assert [file.data for file in DiskFolder(folder).find("link.conf")] == [b"a"]


def test_more_includes_than_the_bound_are_refused(folder, monkeypatch):
    monkeypatch.setattr(loading, "MOST_INCLUDES_COUNT", 1)
    with pytest.raises(ReadError, match="more than 1 files"):
        DiskFolder(folder).find("sites/*.conf")

"""Digests: the same everywhere for content, keyed for people, and a key that processes share."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys

import pytest

from spanline.record import digest
from spanline.record.digest import content_digest, directory_digest, file_digest, keyed_digest, load_or_make_key


def test_text_is_digested_with_line_ends_lf():
    expected = "sha256:" + hashlib.sha256("a\nb\nç".encode()).hexdigest()
    assert content_digest("a\nb\nç") == content_digest("a\r\nb\rç") == expected
    assert content_digest("a\nb\nç".encode()) == expected
    assert content_digest(b"a\r\n") != content_digest(b"a\n"), "bytes are taken as they are"


@pytest.mark.parametrize("wild", ["\ud800", "\x00", "x" * 10_000_000, "", "\U0010ffff"])
def test_wild_text_has_a_digest(wild):
    assert re.fullmatch("sha256:[0-9a-f]{64}", content_digest(wild))


def test_file_and_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"2")
    assert file_digest(tmp_path / "a") == content_digest(b"1")
    first = directory_digest(tmp_path)
    os.utime(tmp_path / "a", (1, 1))
    (tmp_path / "empty").mkdir()
    assert directory_digest(tmp_path) == first
    (tmp_path / "sub" / "b").rename(tmp_path / "sub" / "c")
    renamed = directory_digest(tmp_path)
    assert renamed != first
    (tmp_path / "sub" / "c").write_bytes(b"3")
    assert directory_digest(tmp_path) not in {first, renamed}
    (tmp_path / "loop").symlink_to(tmp_path)
    assert directory_digest(tmp_path) != renamed, "a link counts and is not followed"
    with pytest.raises(NotADirectoryError):
        directory_digest(tmp_path / "a")


def test_keyed_digest_names_its_key():
    key = b"k" * 32
    text = keyed_digest(key, "anna@example.com")
    assert re.fullmatch("hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}", text)
    assert text.split(":")[1] == hashlib.sha256(key).hexdigest()[:8]
    assert "anna" not in text
    assert keyed_digest(key, "anna@example.com") == text != keyed_digest(b"q" * 32, "anna@example.com")
    assert keyed_digest(key, "\ud800")


def test_key_is_made_once_and_private(tmp_path):
    base = tmp_path / "state" / "deep"
    key = load_or_make_key(base)
    assert len(key) == 32
    assert load_or_make_key(base) == key
    assert [p.name for p in base.iterdir()] == ["hash.key"]
    assert stat.S_IMODE((base / "hash.key").stat().st_mode) == 0o600
    (base / "hash.key").chmod(0o644)
    assert load_or_make_key(base) == key
    assert stat.S_IMODE((base / "hash.key").stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree(tmp_path):
    code = "import sys; from pathlib import Path; from spanline.record.digest import load_or_make_key as f; sys.stdin.read(1); print(f(Path(sys.argv[1])).hex())"
    env = {**os.environ, "PYTHONPATH": "src"}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(4)
    ]
    keys = {p.communicate("x")[0].strip() for p in processes}
    assert len(keys) == 1
    assert len(keys.pop()) == 64


@pytest.mark.parametrize("content", [b"", b"zz", b"00", b"\xff\xfe"])
def test_a_broken_key_is_left_and_replaced_for_this_process_only(tmp_path, content, caplog, monkeypatch):
    monkeypatch.setattr("spanline._guard._logged_at", {})
    (tmp_path / "hash.key").write_bytes(content)
    key = load_or_make_key(tmp_path)
    assert len(key) == 32
    assert load_or_make_key(tmp_path) == key
    assert (tmp_path / "hash.key").read_bytes() == content
    assert "SPANLINE_HASH_KEY" in caplog.text


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "_fallback", None)
    (tmp_path / "file").write_text("not a folder")
    assert len(load_or_make_key(tmp_path / "file")) == 32


def test_without_hard_links(tmp_path, monkeypatch):
    def no_links(self, target):
        raise PermissionError("no hard links")

    monkeypatch.setattr("pathlib.Path.hardlink_to", no_links)
    key = load_or_make_key(tmp_path)
    assert load_or_make_key(tmp_path) == key
    assert [p.name for p in tmp_path.iterdir()] == ["hash.key"]

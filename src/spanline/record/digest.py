"""Digests: of content (unkeyed, the same on every host) and of ids of people (keyed)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import threading
from pathlib import Path

from spanline._guard import warn_once_a_minute

KEY_FILE = "hash.key"
KEY_BYTES = 32

_fallback: bytes | None = None
_fallback_lock = threading.Lock()


def content_digest(content: bytes | str) -> str:
    r"""`sha256:<hex>` of content.

    Text is digested as UTF-8 with line ends LF, so that a checkout on Windows has the same digest. Lone surrogates,
    which no UTF-8 has, are encoded as if they were characters: wild text still has a digest.
    """
    if isinstance(content, str):
        if "\r" in content:
            content = content.replace("\r\n", "\n").replace("\r", "\n")
        content = content.encode("utf-8", "surrogatepass")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_digest(path: str | os.PathLike[str]) -> str:
    """`sha256:<hex>` of a file's bytes, read in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def directory_digest(path: str | os.PathLike[str]) -> str:
    """`sha256:<hex>` over a folder: every file's relative path and digest, sorted by path.

    Times, modes and empty folders do not count. A symbolic link counts as its target's text and is not followed.

    Raises:
        OSError: The folder or one of its files cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise NotADirectoryError(f"not a folder: {root}")
    total = hashlib.sha256()
    for name, file in sorted((os.fsencode(p.relative_to(root).as_posix()), p) for p in root.rglob("*")):
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            entry = content_digest(os.fsencode(file.readlink()))
        elif stat.S_ISREG(mode):
            entry = file_digest(file)
        else:
            continue
        # Lengths first: no file name can imitate an entry.
        total.update(b"%d:%s%s\n" % (len(name), name, entry.encode()))
    return f"sha256:{total.hexdigest()}"


def keyed_digest(key: bytes, value: str) -> str:
    """`hmac-sha256:<key id>:<hex>` of an id of a person or of content; the key id is 8 hex of the key's SHA-256.

    Without the key nobody finds the value by trying all of them, which an unkeyed digest of a user id allows.
    """
    mac = hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256").hex()
    return f"hmac-sha256:{hashlib.sha256(key).hexdigest()[:8]}:{mac}"


def load_or_make_key(base: Path) -> bytes:
    """The key of keyed digests, kept in the state folder as hex, readable by its owner only.

    Processes that start at once agree on one key. Where it can be neither read nor made, a key of this process is
    used, with a warning: its digests cannot be joined with those of other processes. Never raises.
    """
    path = base / KEY_FILE
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        return _process_key(path, error)
    try:
        return _make(path)
    except (OSError, ValueError) as error:
        return _process_key(path, error)


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
            with contextlib.suppress(OSError):  # another owner's file: it still is the key
                os.fchmod(file.fileno(), 0o600)
        key = bytes.fromhex(file.read(4096).decode("ascii").strip())
    if len(key) < 16:
        raise ValueError("the key is shorter than 16 bytes")
    return key


def _make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link is made whole or not at all and never replaces: the first process wins, all read its key.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        except OSError:
            # No hard links here (some network and FUSE file systems): the last of two simultaneous starts wins.
            if not path.exists():
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)


def _process_key(path: Path, error: Exception) -> bytes:
    global _fallback
    warn_once_a_minute(
        "hash_key", "spanline: no key for keyed digests at %s (%s); a random one is used for this process. Set SPANLINE_HASH_KEY, or make "
        "the folder writable", path, error,
    )  # fmt: skip
    with _fallback_lock:
        if _fallback is None:
            _fallback = secrets.token_bytes(KEY_BYTES)
        return _fallback

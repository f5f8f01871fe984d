"""Checking a journal against its hash chain: every edit is named in words."""

from __future__ import annotations

from pathlib import Path

import msgspec

from spanline.journal import chain, cursors
from spanline.journal.reader import is_event, segments
from spanline.journal.segment import Segment, alive

_OWN_FILES = frozenset({chain.FILE, chain.LOCK, cursors.FOLDER, "parked"})


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was written.

    `kind` is one of `changed truncated foreign missing duplicated torn chain`; `message` says it in words.
    """

    kind: str
    segment: str
    message: str


class Report(msgspec.Struct, omit_defaults=True):
    """What `verify` saw; `ok` when nothing was found. Counts are segments."""

    ok: bool
    segments: int
    sealed: int
    open: int
    removed: int
    findings: list[Finding]


def verify(directory: Path) -> Report:
    """Check every segment and the chain itself.

    Segments that retention removed are known to the chain and are no finding; neither is what a living writer
    has not sealed yet, as long as each of its lines is an event.
    """
    findings: list[Finding] = []
    known, removed = _check_chain(directory, findings)
    present = {segment.name: segment for segment in segments(directory)}
    digests: dict[str, str] = {}
    still_open = 0
    for name, entry in known.items():
        if name in removed:
            continue
        segment = present.get(name)
        if segment is None:
            findings.append(Finding("missing", name, f"{name}: sealed with {entry['bytes']} bytes, but the file is gone"))
            continue
        original = digests.setdefault(_check_sealed(segment, entry, findings), name)
        if original != name and segment.size:
            findings.append(Finding("duplicated", name, f"{name}: a copy of {original}"))
    for name, segment in present.items():
        if name in known:
            continue
        still_open += alive(segment)
        _check_open(segment, digests, findings)
    _check_strangers(directory, digests, findings)
    sealed = len(known.keys() - removed)
    return Report(not findings, len(present), sealed, still_open, len(removed), findings)


def _check_chain(directory: Path, findings: list[Finding]) -> tuple[dict[str, chain.Item], set[str]]:
    known: dict[str, chain.Item] = {}
    removed: set[str] = set()
    previous: str | None = None
    begins_later = compacted = False
    path = directory / chain.FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        entry = chain.parse_entry(line)
        if entry is None:
            if line:
                findings.append(Finding("chain", "", f"{chain.FILE} line {number}: not an entry of the chain"))
            continue
        if chain.entry_hash(entry) != entry["hash"]:
            findings.append(
                Finding("chain", str(entry.get("segment", "")), f"{chain.FILE} line {number}: the entry was changed after it was written")
            )
        if previous is None:
            begins_later = entry.get("previous") != chain.START
        elif entry.get("previous") != previous:
            findings.append(
                Finding("chain", "", f"{chain.FILE} line {number}: does not follow the line before; entries were removed, added or moved")
            )
        previous = str(entry["hash"])
        if isinstance(entry.get("segment"), str) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str):
            name = str(entry["segment"])
            if name in known:
                findings.append(Finding("duplicated", name, f"{name}: sealed twice in the chain"))
            known.setdefault(name, entry)
        elif "removed" in entry:
            removed.add(str(entry["removed"]))
        compacted = compacted or "compacted" in entry
    if begins_later and not compacted:
        findings.append(Finding("chain", "", f"{chain.FILE}: its beginning is missing"))
    return known, removed & known.keys() if not compacted else removed


def _check_sealed(segment: Segment, entry: chain.Item, findings: list[Finding]) -> str:
    """Compare a sealed segment with its entry; the digest of what is there now."""
    name, size, sealed_sha = segment.name, int(entry["bytes"]), str(entry["sha256"])
    total, _, sha = chain.digest(segment.path)
    if total < size:
        findings.append(Finding("truncated", name, f"{name}: {size - total} of {size} sealed bytes are missing at its end"))
    elif total > size:
        findings.append(Finding("foreign", name, f"{name}: {total - size} bytes were added after it was sealed with {size}"))
    elif sha != sealed_sha:
        findings.append(Finding("changed", name, f"{name}: its content was changed after it was sealed{_broken_line(segment)}"))
    return sealed_sha


def _check_open(segment: Segment, digests: dict[str, str], findings: list[Finding]) -> None:
    _, _, sha = chain.digest(segment.path)
    original = digests.setdefault(sha, segment.name)
    if original != segment.name and segment.size:
        findings.append(Finding("duplicated", segment.name, f"{segment.name}: a copy of {original}"))
        return
    offset = 0
    *lines, tail = segment.path.read_bytes().split(b"\n")
    for line in lines:
        if line and not is_event(line):
            findings.append(Finding("foreign", segment.name, f"{segment.name}: the line at byte {offset} is not an event"))
        offset += len(line) + 1
    if tail and not alive(segment):
        findings.append(Finding("torn", segment.name, f"{segment.name}: its last line, at byte {offset}, is torn ({len(tail)} bytes)"))


def _broken_line(segment: Segment) -> str:
    offset = 0
    for line in segment.path.read_bytes().split(b"\n"):
        if line and not is_event(line):
            return f"; the line at byte {offset} is no event any more"
        offset += len(line) + 1
    return ""


def _check_strangers(directory: Path, digests: dict[str, str], findings: list[Finding]) -> None:
    if not directory.is_dir():
        return
    mine = {segment.name for segment in segments(directory)} | _OWN_FILES
    for path in sorted(directory.iterdir()):
        if path.name in mine or path.name.startswith("."):
            continue
        original = digests.get(chain.digest(path)[2]) if path.is_file() else None
        if original is not None:
            findings.append(Finding("duplicated", path.name, f"{path.name}: a copy of {original}"))
        else:
            findings.append(Finding("foreign", path.name, f"{path.name}: not a file of this journal"))

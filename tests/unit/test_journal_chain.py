"""Sealing and the hash chain: each kind of edit is found and named; retention is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spanline.journal import chain, cursors
from spanline.journal.reader import read, segments
from spanline.journal.retention import retain
from spanline.journal.verify import Report, verify
from spanline.journal.writer import JournalWriter

pytestmark = pytest.mark.raw_journal


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Three sealed segments of four events."""
    for first in (0, 10, 20):
        writer = JournalWriter(tmp_path)
        for number in range(first, first + 4):
            writer.write(json.dumps({"n": number, "pad": "x" * 40}).encode())
        writer.close()
    return tmp_path


def found(report: Report) -> list[tuple[str, str]]:
    return [(finding.kind, finding.segment) for finding in report.findings]


def test_an_untouched_journal_is_in_order(journal: Path) -> None:
    report = verify(journal)
    assert report == Report(True, 3, 3, 0, 0, [])


def test_a_folder_that_is_not_there_is_in_order(tmp_path: Path) -> None:
    assert verify(tmp_path / "nothing").ok


def test_a_flipped_bit(journal: Path) -> None:
    segment = segments(journal)[1]
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"x")] ^= 1
    segment.path.write_bytes(data)
    report = verify(journal)
    assert found(report) == [("changed", segment.name)]
    assert "changed after it was sealed" in report.findings[0].message
    assert len(read(segment, 0, 1 << 20)) == 4


def test_a_flipped_bit_that_breaks_a_line_says_which(journal: Path) -> None:
    segment = segments(journal)[0]
    data = segment.path.read_bytes().replace(b'{"n": 2', b'["n": 2')
    segment.path.write_bytes(data)
    (finding,) = verify(journal).findings
    assert f"byte {data.index(b'[')}" in finding.message
    assert [json.loads(entry.line)["n"] for entry in read(segment, 0, 1 << 20)] == [0, 1, 3]


def test_a_truncated_segment(journal: Path) -> None:
    segment = segments(journal)[2]
    with open(segment.path, "r+b") as file:
        file.truncate(segment.size - 30)
    report = verify(journal)
    assert found(report) == [("truncated", segment.name)]
    assert f"30 of {segment.size}" in report.findings[0].message


def test_bytes_added_to_a_sealed_segment(journal: Path) -> None:
    segment = segments(journal)[0]
    with open(segment.path, "ab") as file:
        file.write(b'{"n": 99}\n')
    report = verify(journal)
    assert found(report) == [("foreign", segment.name)]
    assert "10 bytes were added" in report.findings[0].message


def test_a_missing_segment(journal: Path) -> None:
    segment = segments(journal)[1]
    segment.path.unlink()
    assert found(verify(journal)) == [("missing", segment.name)]


@pytest.mark.parametrize("name", ["{}abcdef01.ndjson", "copy of {}.ndjson"])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_duplicated_segment(journal: Path, sealed: bool, name: str) -> None:
    segment = segments(journal)[1]
    copy = segment.path.with_name(name.format(segment.name[:-15]))
    shutil.copy(segment.path, copy)
    if sealed:
        chain.seal_dead(journal)
        chain.seal(copy) if name.startswith("{}") else None
    report = verify(journal)
    assert [kind for kind, _ in found(report)] == ["duplicated"]
    assert "a copy of" in report.findings[0].message


def test_a_stranger_in_the_folder(journal: Path) -> None:
    (journal / "notes (copy).ndjson").write_text("hello\n")
    assert found(verify(journal)) == [("foreign", "notes (copy).ndjson")]


def test_foreign_lines_in_an_open_segment(journal: Path) -> None:
    writer = JournalWriter(journal)
    writer.write(b'{"n":1}')
    segment = segments(journal)[-1]
    with open(segment.path, "ab") as file:
        file.write(b"not an event\n")
    writer.write(b'{"n":2}')
    report = verify(journal)
    assert found(report) == [("foreign", segment.name)]
    assert report.open == 1
    assert "byte 8" in report.findings[0].message
    writer.close()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda lines: [lines[0], lines[2]], "does not follow"),
        (lambda lines: [lines[1], lines[0], lines[2]], "does not follow"),
        (lambda lines: lines[1:], "beginning is missing"),
        (lambda lines: [lines[0].replace('"bytes": ', '"bytes": 1'), *lines[1:]], "was changed"),
        (lambda lines: [*lines, "junk"], "not an entry"),
    ],
)
def test_an_edited_chain(journal: Path, edit, says: str) -> None:
    path = journal / chain.FILE
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    report = verify(journal)
    assert not report.ok
    assert any(says in finding.message for finding in report.findings), report.findings


def test_what_retention_removed_is_known(journal: Path) -> None:
    cursors.save(journal, "ledger", {segment.name: segment.size for segment in segments(journal)[:2]})
    assert retain(journal, max_bytes=1 << 30, keep_s=-1) == 2
    report = verify(journal)
    assert report.ok
    assert (report.segments, report.sealed, report.removed) == (1, 1, 2)


def test_sealing_twice_seals_once(journal: Path) -> None:
    assert not chain.seal(segments(journal)[0].path)
    assert len(chain.entries(journal)) == 3


def test_a_long_chain_is_shortened_and_says_so(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "COMPACT_BYTES", 3000)
    cursors.register(journal, "ledger")
    for _ in range(20):
        writer = JournalWriter(journal)
        writer.write(b'{"n":%d}' % _)
        writer.close()
        cursors.save(journal, "ledger", {segment.name: segment.size for segment in segments(journal)})
        retain(journal, max_bytes=1 << 30, keep_s=-1)
    assert (journal / chain.FILE).stat().st_size < 6000
    assert verify(journal).findings == []
    assert any("compacted" in entry for entry in chain.entries(journal))

"""The journal's reader: complete events only, whatever else is in the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanline.journal import segment as segment_module
from spanline.journal.reader import complete_end, read, scan, segments
from spanline.journal.segment import Segment, alive, new_name, parse

EVENTS = [b'{"n":%d,"pad":"%s"}' % (n, b"x" * n) for n in range(40)]


def put(directory: Path, data: bytes, *, dead: bool = False) -> Segment:
    name = new_name(1_700_000_000_000_000)
    if dead:
        parts = name.split("-")
        parts[4] = "1"  # another process start
        name = "-".join(parts)
    path = directory / name
    path.write_bytes(data)
    found = parse(path, len(data))
    assert found is not None
    return found


def everything(segment: Segment, max_bytes: int = 64) -> tuple[list[bytes], int, int]:
    lines: list[bytes] = []
    offset = torn = 0
    while True:
        part = scan(segment, offset, max_bytes)
        if part.end == offset:
            return lines, offset, torn
        for entry in part.entries:
            assert segment.path.read_bytes()[entry.offset : entry.end] == entry.line + b"\n"
        lines += [entry.line for entry in part.entries]
        offset, torn = part.end, torn + part.torn


def test_slices_of_any_size_give_the_same_events(tmp_path: Path) -> None:
    segment = put(tmp_path, b"\n".join(EVENTS) + b"\n")
    for max_bytes in (1, 7, 64, 1000, 1 << 20):
        assert everything(segment, max_bytes) == (EVENTS, segment.size, 0)


def test_a_slice_holds_at_most_so_many_events(tmp_path: Path) -> None:
    segment = put(tmp_path, b"\n".join(EVENTS) + b"\n")
    part = scan(segment, 0, 1 << 20, 10)
    assert [entry.line for entry in part.entries] == EVENTS[:10]
    assert [entry.line for entry in scan(segment, part.end, 1 << 20, 10).entries] == EVENTS[10:20]


def test_a_torn_end_waits_while_the_writer_lives(tmp_path: Path) -> None:
    segment = put(tmp_path, EVENTS[1] + b"\n" + EVENTS[2][:5])
    assert [entry.line for entry in read(segment)] == [EVENTS[1]]
    assert everything(segment) == ([EVENTS[1]], len(EVENTS[1]) + 1, 0)
    assert complete_end(segment) == len(EVENTS[1]) + 1


def test_a_torn_end_of_a_dead_writer_is_skipped_and_counted(tmp_path: Path) -> None:
    segment = put(tmp_path, EVENTS[1] + b"\n" + EVENTS[2][:5], dead=True)
    assert everything(segment) == ([EVENTS[1]], segment.size, 1)


def test_broken_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    foreign = [b"junk", b"[1]", b'"text"', b"\0" * 30, b'{"n":', b'{"a":"\xff"}', b"null"]
    data = b"".join(good + b"\n" + bad + b"\n" for good, bad in zip(EVENTS, foreign, strict=False))
    lines, _, torn = everything(put(tmp_path, data))
    assert lines == EVENTS[: len(foreign)]
    assert torn == len(foreign)


def test_a_segment_that_is_gone_reads_as_empty(tmp_path: Path) -> None:
    segment = put(tmp_path, EVENTS[0] + b"\n")
    segment.path.unlink()
    assert read(segment) == []
    assert complete_end(segment) == 0
    assert segments(tmp_path) == []
    assert segments(tmp_path / "nowhere") == []


def test_other_files_are_no_segments(tmp_path: Path) -> None:
    put(tmp_path, b"")
    for name in ("chain.ndjson", "notes.txt", "1-2-3.ndjson"):
        (tmp_path / name).write_text("{}\n")
    assert len(segments(tmp_path)) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000), start=st.integers(0, 2000), junk=st.binary(max_size=60), dead=st.booleans())
def test_truncated_and_mixed_up_files_never_stop_a_reader(tmp_path: Path, cut: int, start: int, junk: bytes, dead: bool) -> None:
    data = b"\n".join(EVENTS) + b"\n"
    cut, start = min(cut, len(data)), min(start, len(data))
    segment = put(tmp_path, data[:cut] + junk + data[start:], dead=dead)
    lines, end, _ = everything(segment)
    whole = segment.path.read_bytes()
    assert end == (len(whole) if dead else whole.rfind(b"\n") + 1)
    # What was complete before the cut comes out, and nothing comes out that was not written as an event.
    intact = data[:cut].count(b"\n")
    assert lines[:intact] == EVENTS[:intact]
    segment.path.unlink()


def test_the_writer_lives_by_its_start_not_by_its_pid_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = put(tmp_path, b"")
    assert alive(mine)
    assert not alive(put(tmp_path, b"", dead=True))
    # After a restart of the host nothing lives.
    monkeypatch.setattr(segment_module, "_boot", lambda: "ffffffff")
    assert not alive(mine)


def test_a_zombie_writer_is_dead(tmp_path: Path) -> None:
    code = "from spanline.journal.segment import new_name; import sys; print(new_name(1)); sys.stdout.flush(); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "src"}
    )
    assert child.stdout is not None
    segment = parse(tmp_path / child.stdout.readline().strip(), 0)
    assert segment is not None
    assert alive(segment)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but nobody has asked for its status
    assert not alive(segment)
    child.communicate()
    assert not alive(segment)


def test_a_writer_in_another_container_lives_for_as_long_as_it_may_write(tmp_path: Path) -> None:
    parts = new_name(1_700_000_000_000_000).split("-")
    parts[2] = "1"
    old = parse(tmp_path / "-".join(parts), 0)
    parts[0] = new_name(int(__import__("time").time() * 1e6)).split("-")[0]
    fresh = parse(tmp_path / "-".join(parts), 0)
    assert old is not None
    assert fresh is not None
    assert not alive(old)
    assert alive(fresh)

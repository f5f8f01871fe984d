"""How values read on the page."""

from __future__ import annotations

import pytest

from spanline.server import words
from spanline.server.timeline import MAX_ROWS, timeline


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 ms"), (0.0004, "0.4 ms"), (0.0416, "42 ms"), (2.4099, "2.41 s"), (59.99, "59.99 s"), (125, "2 min 05 s"), (3780, "1 h 03 min"),
    (None, ""), ("2", ""), (-1, ""), (True, ""), (float("nan"), ""), (float("inf"), ""),
])  # fmt: skip
def test_durations(seconds: object, text: str) -> None:
    assert words.duration(seconds) == text


def test_times() -> None:
    assert words.moment("2026-11-21T02:58:11.204Z") == "2026-11-21 02:58:11.204 UTC"
    assert words.moment("2026-11-21T02:58:11+02:00") == "2026-11-21 00:58:11.000 UTC"
    assert words.moment("yesterday") == "yesterday"
    now = words.nanos_of("2026-11-21T03:00:00Z")
    assert [words.ago(t, now) for t in ("2026-11-21T02:59:58Z", "2026-11-21T02:57:00Z", "2026-11-20T23:59:00Z", "2026-11-20T02:00:00Z", "2027-01-01T00:00:00Z")] == [
        "2 s ago", "3 min ago", "3 h ago", "1 day ago", "",
    ]  # fmt: skip


def test_digests_and_commits_are_short_but_other_text_is_not_taken_for_one() -> None:
    assert words.short_digest("sha256:" + "ab" * 32) == "abababababab"
    assert words.short_digest("hmac-sha256:k1:" + "ab" * 32) == "hmac-sha256:abababababab"
    assert words.short_digest("fp_44709d6fcb") == "fp_44709d6fcb"
    assert words.revision("a" * 40) == "a" * 12
    assert words.revision("commit:abc123") == "commit:abc123"


def test_what_cannot_be_seen_is_written_out() -> None:
    assert words.visible("a\u202eb\u200bc\x1bd\ud800e\x00") == "a\\u202eb\\u200bc\\u001bd\\ud800e\\u0000"
    assert words.visible("Gebühr 手数料 رسوم\n") == "Gebühr 手数料 رسوم\n"


def test_timeline_geometry() -> None:
    run = {
        "startedAt": "2026-01-01T00:00:00Z", "endedAt": "2026-01-01T00:00:10Z",
        "operations": [
            {"spanId": "b", "parentSpanId": "a", "kind": "inference", "startedAt": "2026-01-01T00:00:05Z", "durationSeconds": 5, "timeToFirstTokenSeconds": 1},
            {"spanId": "a", "parentSpanId": "b", "kind": "agent", "startedAt": "2026-01-01T00:00:00Z", "durationSeconds": 10},
            {"spanId": "c", "kind": "to ol", "startedAt": "never", "durationSeconds": float("nan")},
            {},
        ],
    }  # fmt: skip
    found = timeline(run)
    assert [(row.span_id, row.x, row.width) for row in found.rows[:2]] == [("a", 0.0, 100.0), ("b", 50.0, 50.0)]
    assert found.rows[1].first_token == 60.0
    assert all(row.kind.isalpha() and row.x >= 0 and row.x + row.width <= 100.01 for row in found.rows)
    assert found.marks[-1] == (100.0, "10.00 s")


def test_a_huge_timeline_is_cut_and_says_so() -> None:
    operations = [{"spanId": str(i), "parentSpanId": str(i - 1), "startedAt": "2026-01-01T00:00:00Z"} for i in range(1000)]
    found = timeline({"operations": operations, "operationsDropped": 7})
    assert len(found.rows) == MAX_ROWS
    assert found.hidden == 1000 - MAX_ROWS + 7
    assert max(row.depth for row in found.rows) == 6


def test_no_operations_no_timeline() -> None:
    assert timeline({}).rows == timeline({"operations": "x"}).rows == []

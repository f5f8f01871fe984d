"""Whatever happens to spans on their way: the same record, or one that says less; never an exception."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanline.record.run import RunRecord
from tests.corpus import MARKERS, reading_of, recordings, records

NAMES = sorted(name for name, recording in recordings().items() if len(recording["spans"]) > 1)
names = st.sampled_from(NAMES)
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.binary(max_size=20),
    st.lists(st.integers() | st.text(max_size=8), max_size=4),
    st.sampled_from(['{"a": [', "[[[[", "{'a': \\d}", '"\\ud800"', "(" * 300, "1e999", "NaN", "{}", "[]", '"[]"']),
)
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def plain(found: list[RunRecord]) -> dict[str, Any]:
    """Records by trace, without what depends on the order of spans of one start time."""
    told: dict[str, Any] = {}
    for record in found:
        value = msgspec.to_builtins(record)
        value.pop("spanId")
        for key in ("operations", "artifacts", "guardrails", "evaluations"):
            value[key] = sorted(map(repr, value.get(key, [])))
        told[record.trace_id] = value
    return told


@relaxed
@given(names, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(name: str, random: Any) -> None:
    recording = recordings()[name]
    spans = [*recording["spans"], *random.sample(recording["spans"], len(recording["spans"]) // 2)]
    random.shuffle(spans)
    order = {trace: at for at, trace in enumerate(dict.fromkeys(span["trace_id"] for span in recording["spans"]))}
    # Which of two traces that report one response counts it is who comes first.
    spans.sort(key=lambda span: order[span["trace_id"]])
    assert plain(records(recording, spans)) == plain(records(recording))


@relaxed
@given(names, st.data())
def test_spans_can_be_missing(name: str, data: st.DataObject) -> None:
    recording = recordings()[name]
    spans = data.draw(st.lists(st.sampled_from(recording["spans"]), unique_by=lambda span: span["span_id"]))
    whole = sum(record.usage.input_tokens or 0 for record in records(recording) if record.usage is not None)
    for record in records(recording, spans):
        assert len(record.operations) <= len(spans)
        assert record.usage is None or (record.usage.input_tokens or 0) <= max(whole, 200)


@relaxed
@given(names, st.data())
def test_values_of_any_kind_are_read(name: str, data: st.DataObject) -> None:
    recording = copy.deepcopy(recordings()[name])
    for span in recording["spans"]:
        keys = data.draw(st.lists(st.sampled_from(sorted(span["attributes"])), max_size=4)) if span["attributes"] else []
        for key in keys:
            span["attributes"][key] = data.draw(junk)
        for event in span["events"]:
            if event.get("attributes") and data.draw(st.booleans()):
                event["attributes"][data.draw(st.sampled_from(sorted(event["attributes"])))] = data.draw(junk)
    for record in records(recording):
        msgspec.json.encode(record)


@relaxed
@given(names, st.integers(0, 400))
def test_cut_texts_are_read_and_hold_no_content(name: str, length: int) -> None:
    recording = copy.deepcopy(recordings()[name])
    for span in recording["spans"]:
        span["attributes"] = {key: value[:length] if isinstance(value, str) else value for key, value in span["attributes"].items()}
    for record in records(recording):
        assert [marker for marker in MARKERS if marker in repr(record)] == []


@relaxed
@given(names, st.integers(1, 128), st.randoms(use_true_random=False))
def test_attributes_can_be_dropped(name: str, limit: int, random: Any) -> None:
    recording = copy.deepcopy(recordings()[name])
    for span in recording["spans"]:
        keys = list(span["attributes"])
        random.shuffle(keys)
        span["attributes"] = {key: span["attributes"][key] for key in keys[:limit]}
    for record in records(recording):
        assert [marker for marker in MARKERS if marker in repr(record)] == []


@relaxed
@given(st.lists(names, min_size=2, max_size=4, unique=True))
def test_one_trace_mixes_dialects(several: list[str]) -> None:
    spans: list[dict[str, Any]] = []
    for at, name in enumerate(several):
        for span in recordings()[name]["spans"]:
            # Span ids of different recordings may be the same.
            tail = f"{at:02x}"
            parent = span["parent_span_id"]
            spans.append(
                {**span, "trace_id": "ab" * 16, "span_id": span["span_id"][:14] + tail, "parent_span_id": parent and parent[:14] + tail}
            )
    (record,) = records({"spans": spans})
    assert len(record.operations) == sum(reading_of(span) is not None for span in {span["span_id"]: span for span in spans}.values())

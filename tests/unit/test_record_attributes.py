"""Attributes of our own spans: cleaned once, and on the span as the SDK would have put them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from spanline.record import attributes as module
from spanline.record.attributes import put, set_clean

VALUES: dict[str, Any] = {
    "text": "gpt-4o", "accent": "é", "lone": "a\ud800b", "long": "x" * 70_000, "count": 3, "huge": 1 << 70, "share": 0.5, "flag": True,
    "none": None, "reasons": ["stop", "length"], "pair": ("a", 1), "empty": [], "object": object(), "first": "kept where it was",
}  # fmt: skip


def cleaned() -> dict[str, Any]:
    found: dict[str, Any] = {}
    put(found, VALUES)
    return found


def span_of(**limits: Any) -> Any:
    provider = TracerProvider(span_limits=SpanLimits(**limits))
    return provider.get_tracer("test").start_span("s", attributes={"first": "1", "second": "2"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what the SDK was asked to set."""
    sizes: list[int] = []
    inner = BoundedAttributes._set_items

    def counted(self: BoundedAttributes, attributes: Any) -> None:
        sizes.append(len(attributes))
        inner(self, attributes)

    monkeypatch.setattr(BoundedAttributes, "_set_items", counted)
    return sizes


def test_what_is_put_is_what_the_sdk_would_hold(asked: list[int]) -> None:
    ours, theirs = span_of(), span_of()
    asked.clear()
    set_clean(ours, cleaned())
    assert asked == [], "the SDK is built differently now: look at set_clean, and at ADR 11"
    theirs.set_attributes(cleaned())
    ours.end()
    theirs.end()
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert {key: type(value) for key, value in ours.attributes.items()} == {key: type(value) for key, value in theirs.attributes.items()}
    assert ours.attributes["reasons"] == ("stop", "length")
    assert not {"none", "huge", "empty", "object"} & ours.attributes.keys()


@pytest.mark.parametrize("limits", [{"max_span_attributes": 4}, {"max_span_attribute_length": 3}])
def test_limits_are_the_sdks(limits: dict[str, int], asked: list[int]) -> None:
    ours, theirs = span_of(**limits), span_of(**limits)
    set_clean(ours, cleaned())
    theirs.set_attributes(cleaned())
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.dropped_attributes == theirs.dropped_attributes
    assert len(cleaned()) in asked


def test_a_span_that_has_ended_keeps_what_it_had() -> None:
    span = span_of()
    span.end()
    set_clean(span, {"late": 1})
    assert "late" not in span.attributes


def test_an_sdk_that_is_built_differently_is_asked(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    monkeypatch.setattr(module, "_KNOWN", False)
    span = span_of()
    asked.clear()
    set_clean(span, {"a": 1})
    assert asked == [1]
    assert span.attributes["a"] == 1


def test_a_span_of_nobody_takes_nothing() -> None:
    set_clean(INVALID_SPAN, {"a": 1})

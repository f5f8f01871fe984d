"""Event documents: checked, and the events of one run merged into one, by OpenLineage's rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, cast

import msgspec

from spanline.ledger.codec import digest64_of
from spanline.naming import MAX_NAME, fit
from spanline.times import parse_rfc3339

MAX_EVENT_BYTES = 16 << 20
TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})

Document = dict[str, Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_TYPES = TERMINAL | {"START", "RUNNING", "OTHER"}
_MAX_US = (1 << 52) - 1
_NOTHING: Mapping[str, Any] = {}
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """One checked event."""

    run_id: bytes
    job: tuple[str, str]
    event_us: int
    hash: int
    line: bytes
    doc: Document


class Static(NamedTuple):
    """One checked event about a job or a dataset and no run: `JobEvent`, `DatasetEvent`."""

    namespace: str
    name: str
    is_dataset: bool
    event_us: int
    doc: Document


def part(value: Any) -> Mapping[str, Any]:
    """The value when it is an object, else an empty one: foreign facets may hold anything."""
    # Called seventy times an event: no cast, no new dictionary.
    found: Any = value
    return found if isinstance(value, dict) else _NOTHING


def items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list, or nothing."""
    listed: Any = value
    return [item for item in listed if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """The value when it is a string with content, without NUL (PostgreSQL's text holds none)."""
    if isinstance(value, str) and value:
        return value.replace("\x00", "") or None if "\x00" in value else value
    return None


def short(value: Any) -> str | None:
    """The value as `text`, cut where it is longer than a name may be: an index of PostgreSQL takes 2.7 kB."""
    found = text(value)
    return fit(found) if found is not None and len(found) > MAX_NAME else found


def micros(value: Any) -> int | None:
    """Unix microseconds of an RFC 3339 time, kept within what a key can hold (1970 to 2112); None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return min(max(parse_rfc3339(value) // 1000, 0), _MAX_US)
    except (ValueError, OverflowError):
        return None


def read(event: bytes | Mapping[str, Any]) -> Event:
    """Check one run event.

    Raises:
        ValueError: With the reason, which holds no part of the event.
    """
    found = read_any(event)
    if isinstance(found, Static):
        raise ValueError("the event is about no run")
    return found


def read_any(event: bytes | Mapping[str, Any]) -> Event | Static:
    """Check one event: of a run, or (without `run`) of a job or a dataset.

    Raises:
        ValueError: With the reason, which holds no part of the event.
    """
    line = event if isinstance(event, bytes) else _line(event)
    if len(line) > MAX_EVENT_BYTES:
        raise ValueError(f"the event is larger than {MAX_EVENT_BYTES >> 20} MB")
    try:
        try:
            decoded = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            line = _without_lone_surrogates(line)
            decoded = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("the event is not JSON") from error
    except RecursionError as error:
        raise ValueError("the event is nested too deeply") from error
    if not isinstance(decoded, dict):
        raise ValueError("the event is not a JSON object")
    doc = cast(Document, decoded)
    if "run" not in doc and isinstance(doc.get("dataset" if "dataset" in doc else "job"), dict) and "eventType" not in doc:
        return _static(doc)
    run_id = part(doc.get("run")).get("runId")
    if not isinstance(run_id, str) or not _UUID.match(run_id):
        raise ValueError("run.runId is not a UUID")
    job = part(doc.get("job"))
    names = short(job.get("namespace")), short(job.get("name"))
    if names[0] is None or names[1] is None:
        raise ValueError("job.namespace or job.name is missing")
    event_us = micros(doc.get("eventTime"))
    if event_us is None:
        raise ValueError("eventTime is not an RFC 3339 time")
    kind = doc.get("eventType")
    if kind is not None and not (isinstance(kind, str) and kind in _TYPES):
        raise ValueError("eventType is not one of START, RUNNING, COMPLETE, ABORT, FAIL, OTHER")
    return Event(bytes.fromhex(run_id.replace("-", "")), (names[0], names[1]), event_us, digest64_of(line), line, doc)


def _without_lone_surrogates(line: bytes) -> bytes:
    """The same event with `?` for halves of characters, which other serialisers let pass; unchanged when it is broken otherwise."""
    if b"\\ud" not in line.lower():
        return line
    try:
        return json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
    except ValueError:
        return line


def _static(doc: Document) -> Static:
    is_dataset = "dataset" in doc
    about = part(doc["dataset" if is_dataset else "job"])
    names, event_us = (short(about.get("namespace")), short(about.get("name"))), micros(doc.get("eventTime"))
    if names[0] is None or names[1] is None:
        raise ValueError(f"{'dataset' if is_dataset else 'job'}.namespace or name is missing")
    if event_us is None:
        raise ValueError("eventTime is not an RFC 3339 time")
    return Static(names[0], names[1], is_dataset, event_us, doc)


def merge_static(before: Document | None, new: Static) -> Document:
    """One document of all events about a job or dataset, in any order: of each facet, and of inputs and outputs, the latest.

    `spanline_times` holds when each was said. A facet that says `_deleted` is kept, so that what is older stays away.
    """
    key = "dataset" if new.is_dataset else "job"
    known = part(before)
    about = part(known.get(key))
    at = micros(known.get("eventTime")) or 0
    times: dict[str, Any] = dict(part(known.get("spanline_times")))

    def latest(name: str, old: Any, value: Any) -> Any:
        """The later of two; of one time the one whose JSON is greater, whoever came first."""
        if old is not None and (new.event_us, _encode(value)) <= (times.get(name, at), _encode(old)):
            return old
        times[name] = new.event_us
        return value

    facets = dict(part(about.get("facets")))
    for name, facet in part(part(new.doc[key]).get("facets")).items():
        facets[name] = latest(f"facets.{name}", facets.get(name), facet)
    flows = {
        name: latest(name, known.get(name), new.doc[name]) if new.doc.get(name) else known[name]
        for name in ("inputs", "outputs")
        if new.doc.get(name) or known.get(name)
    }
    rest = {name: value for name, value in new.doc.items() if name not in (key, "inputs", "outputs")}
    had = {name: known[name] for name in known if name not in (key, "inputs", "outputs", "spanline_times")} or None
    merged = {**latest("event", had, rest), **flows}
    return {**merged, key: {"namespace": new.namespace, "name": new.name, "facets": facets}, "spanline_times": times}


def merge(documents: Iterable[Document]) -> Document:
    """One document of all events of a run, in any order.

    Facets are atomic: of two with one name the later event's stands. What an event leaves out, or has empty, erases nothing.
    The event type is that of the last terminal event, if there is one, but no COMPLETE takes back a FAIL: Spark says both of an
    action that failed. `spanline_times` holds `[first, first terminal, last]` event times.
    """
    known = [(micros(doc.get("eventTime")) or 0, doc) for doc in documents]
    known.sort(key=lambda pair: pair[0])
    if any(one[0] == other[0] for one, other in pairwise(known)):
        # Events of one time have an order too, whoever came first: the end of a run, then what they say.
        known.sort(key=lambda pair: (pair[0], pair[1].get("eventType") in TERMINAL, _encode(pair[1])))
    terminal = [(at, doc) for at, doc in known if doc.get("eventType") in TERMINAL]
    last_at, last = (terminal or known)[-1]
    times = [known[0][0], terminal[0][0] if terminal else None, last_at]
    if len(known) == 1:
        return {**last, "spanline_times": times}
    merged: Document = {**last, "spanline_times": times}
    if last.get("eventType") == "COMPLETE" and any(doc["eventType"] == "FAIL" for _, doc in terminal):
        merged["eventType"] = "FAIL"
    for owner in ("run", "job"):
        facets = _facets(part(part(doc.get(owner)).get("facets")) for _, doc in known)
        merged[owner] = {**part(last.get(owner)), "facets": facets}
    for direction in ("inputs", "outputs"):
        merged[direction] = _merge_datasets(doc.get(direction) for _, doc in known)
    evaluations = [part(part(doc.get("run")).get("facets")).get("spanline_evaluations") for _, doc in known]
    if sum(facet is not None for facet in evaluations) > 1:
        # A score that comes later stands beside the earlier ones: the one facet that is a list of what was added.
        found = [entry for facet in evaluations for entry in items(part(facet).get("evaluations"))]
        unique = {_encode(entry): entry for entry in found}
        merged["run"]["facets"]["spanline_evaluations"] = {"evaluations": list(unique.values())}
    return merged


def _facets(some: Iterable[Mapping[str, Any]]) -> Document:
    """Facets by name: of two the later stands whole, and one that says `_deleted` takes the earlier away."""
    found: Document = {}
    for facets in some:
        found.update(facets)
    deleted = [key for key, facet in found.items() if isinstance(facet, dict) and "_deleted" in facet]
    for key in deleted:
        if part(found[key])["_deleted"] is True:
            del found[key]
    return found


def _merge_datasets(lists: Iterable[Any]) -> list[Document]:
    found: dict[tuple[Any, Any], Document] = {}
    for datasets in lists:
        for dataset in items(datasets):
            key = text(dataset.get("namespace")), text(dataset.get("name"))
            before = found.get(key)
            if before is None:
                found[key] = dict(dataset)
                continue
            for of in ("facets", "inputFacets", "outputFacets"):
                if isinstance(dataset.get(of), dict):
                    before[of] = _facets((part(before.get(of)), part(dataset[of])))
    return list(found.values())


def _line(event: Mapping[str, Any]) -> bytes:
    try:
        return _encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError("the event is not plain data") from error

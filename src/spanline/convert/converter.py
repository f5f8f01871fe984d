"""Converter: inputs in, lines of events or records out, in the order of time; what it takes is bounded."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from typing import IO

import msgspec

from spanline._guard import guard
from spanline.convert.intake import Intake
from spanline.convert.piece import Piece, unpack
from spanline.convert.runs import Rules, records_of
from spanline.convert.source import Report, Source
from spanline.convert.spill import MEMORY, Sorter, TraceStore
from spanline.lineage.encoding import encode
from spanline.lineage.events import start_event, terminal_event
from spanline.lineage.producer import PRODUCER
from spanline.naming import clean_namespace
from spanline.record.digest import KEY_BYTES, keyed_digest
from spanline.record.labels import Labels
from spanline.record.run import RunRecord
from spanline.semconv import GUARDRAIL_REASON
from spanline.settings import Settings

MAX_SPANS = 100_000
"""Spans of one trace that are looked at; what is more is counted as dropped."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RunRecord).decode


class Converter:
    """One conversion: `read` the inputs, then take the `lines`.

    Args:
        settings: Namespace, service of resources that name none, hash key, base URL and schema base.
        namespace: Job namespace of all runs; without one spanline's own runs keep theirs.
        service: Service of all runs, instead of what the resources say.
        warn: Told once of what a user should know.
        memory: Bytes that spans, and then records, take before they are spilled to unlinked temporary files.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        namespace: str | None = None,
        service: str | None = None,
        warn: Callable[[str], None] = lambda _: None,
        memory: int = MEMORY,
    ) -> None:
        self._settings = settings
        self._warn = warn
        self._memory = memory
        self._store = TraceStore(memory)
        self._intake = Intake(self._store, settings.service, reasons=settings.allows(GUARDRAIL_REASON))
        self._source = Source(self._intake)
        self._key = settings.hash_key.encode() if settings.hash_key else None
        self._rules = Rules(
            namespace=clean_namespace(namespace or settings.namespace),
            namespace_asked=namespace is not None,
            service=service,
            base_url=settings.base_url,
            digest=self._digest,
        )

    def _digest(self, value: str) -> str:
        if self._key is None:
            self._key = secrets.token_bytes(KEY_BYTES)
            self._warn("SPANLINE_HASH_KEY is not set: keyed digests are made with a random key and join with those of no other call")
        return keyed_digest(self._key, value)

    def read(self, stream: IO[bytes], report: Report) -> None:
        """Take one input."""
        self._source.read(stream, report)

    def lines(self, to: str = "openlineage") -> Iterator[bytes]:
        """The output, without line ends; ends the conversion.

        Args:
            to: `openlineage`: START and terminal event of every run; `record`: every run as one JSON object.
        """
        labels = Labels(None)
        base = self._settings.schema_base
        for data in self._records().sorted():
            record = _decode(data)
            record.conflicts, _ = labels.check(record.artifacts, record.run_id)
            if to == "record":
                yield encode(record)
                continue
            yield start_event(record, producer=PRODUCER, schema_base=base)
            yield terminal_event(record, producer=PRODUCER, schema_base=base)
        if lost := self._intake.lost + sum(map(len, self._intake.unplaced.values())):
            self._warn(f"{lost} log record{'s' if lost > 1 else ''} of the input belong{'' if lost > 1 else 's'} to no trace of it")

    def _records(self) -> Sorter:
        """Records of all runs, to be sorted by the start of their traces; a trace's runs stay together, its owner first."""
        sorter = Sorter(self._memory)
        self._intake.settle()
        for trace_id, packed in self._store.traces():
            with guard("convert.trace"):
                self._trace(trace_id, packed, sorter)
        return sorter

    def _trace(self, trace_id: bytes, packed: list[bytes], sorter: Sorter) -> None:
        dropped = max(len(packed) - MAX_SPANS, 0)
        pieces = [unpack(data) for data in packed[:MAX_SPANS]]
        pieces += self._unplaced(trace_id, pieces)
        records, left = records_of(
            trace_id,
            pieces,
            self._intake.resources,
            self._rules,
            repeated=lambda reading: self._intake.shared.is_repeated(trace_id, reading),
        )
        self._intake.lost += len(left)
        if not records:
            return
        records[0].operations_dropped += dropped
        started_ns = records[0].started_ns
        for number, record in enumerate(records):
            sorter.add(struct.pack(">Q16sI", started_ns, trace_id, number), _encode(record))

    def _unplaced(self, trace_id: bytes, pieces: list[Piece]) -> list[Piece]:
        """Log records without a trace whose response is in this one."""
        waiting = self._intake.unplaced
        if not waiting:
            return []
        found: list[Piece] = []
        for piece in pieces:
            reading = piece.reading
            if reading is None or piece.is_log or reading.operation.response_id is None:
                continue
            if not self._intake.shared.is_repeated(trace_id, reading):
                found += waiting.pop(reading.operation.response_id, ())
        return found

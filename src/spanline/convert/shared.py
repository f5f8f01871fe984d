"""Shared responses: one model response that several traces report is counted in one of them only."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable
from hashlib import blake2b

from spanline.dialects.reading import Reading
from spanline.record.run import MODEL_CALLS

_PARTS = 64


class SharedResponses:
    """Remembers who reports which response, in 32 bytes each; tells at the end whose report is a repetition.

    A native span of a client beside an instrumentation's span is in another trace where nothing is around both.
    """

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(_PARTS)]
        self._repeats: frozenset[tuple[int, int]] | None = None

    def saw(self, trace_id: bytes, reading: Reading) -> None:
        """Remember an operation with a response id."""
        operation = reading.operation
        response = operation.response_id
        if response is None or operation.kind not in MODEL_CALLS:
            return
        key = _hash(response)
        # Whoever knows the usage counts, then who began first.
        order = reading.started_ns | (0 if operation.usage is not None else 1 << 63)
        self._parts[key % _PARTS].extend((key, _trace(trace_id), order, zlib.crc32(operation.span_id.encode())))

    def known(self, responses: Iterable[str]) -> set[str]:
        """Those of the responses that some span reports."""
        wanted = {_hash(response): response for response in responses}
        if not wanted:
            return set()
        return {wanted[key] for part in self._parts for key in part[::4] if key in wanted}

    def is_repeated(self, trace_id: bytes, reading: Reading) -> bool:
        """Another trace reports this response too, and it is counted there."""
        if self._repeats is None:
            self._repeats = self._find()
        if not self._repeats:
            return False
        response = reading.operation.response_id
        return response is not None and (_hash(response), _trace(trace_id)) in self._repeats

    def _find(self) -> frozenset[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for number, part in enumerate(self._parts):
            winners: dict[int, tuple[int, int, int]] = {}
            traces: dict[int, set[int]] = {}
            for at in range(0, len(part), 4):
                key, trace, order, span = part[at : at + 4]
                claim = (order, span, trace)
                known = winners.get(key)
                if known is None:
                    winners[key] = claim
                    continue
                if known[2] != trace or key in traces:
                    traces.setdefault(key, {known[2]}).add(trace)
                if claim < known:
                    winners[key] = claim
            for key, several in traces.items():
                found.update((key, trace) for trace in several if trace != winners[key][2])
            self._parts[number] = array("Q")
        return frozenset(found)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _trace(trace_id: bytes) -> int:
    return int.from_bytes(trace_id[8:]) ^ int.from_bytes(trace_id[:8])

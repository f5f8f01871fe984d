"""Identity: trace id and run id, ownership of a trace's run, ids from the operating system."""

from __future__ import annotations

import os
import re
import uuid
from urllib.parse import quote, unquote

from opentelemetry.sdk.trace.id_generator import IdGenerator

TRACESTATE_KEY = "spanline"
MAX_ENTRY = 256

_HEX32 = re.compile(r"[0-9a-fA-F]{32}\Z")
_DASHED = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
# W3C trace context, tracestate value: printable ASCII without comma and equals. `/`, `%` and space are
# ours: separator, escape, and what trims at the end.
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in ",=/%")


def run_id_of(trace_id: int) -> str:
    """Run id of a trace's root run: the trace id as a dashed UUID.

    Args:
        trace_id: The W3C trace id, 1 … 2**128 - 1.

    Raises:
        ValueError: Zero, which W3C calls invalid, or out of range.

    Source: contract.md "Identity"; 32 hex without dashes silently become another id in Marquez.
    """
    if not 0 < trace_id < 1 << 128:
        raise ValueError(f"trace id out of range: {trace_id:#x}")
    h = f"{trace_id:032x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def child_run_id(trace_id: int, span_id: int) -> str:
    """Run id of any other run of a trace: uuid5 of the trace's UUID and the span id as 16 hex."""
    return str(uuid.uuid5(uuid.UUID(int=trace_id), f"{span_id:016x}"))


def trace_id_of(text: str) -> int | None:
    """Trace id from 32 hex (any case) or a dashed UUID; None for anything else, and for all zeros."""
    if _HEX32.match(text) or _DASHED.match(text):
        return int(text.replace("-", ""), 16) or None
    return None


def tracestate_entry(namespace: str, job: str, service: str) -> str:
    """Value of our tracestate entry: who owns the trace's run.

    At most 256 characters: when the job name makes it longer, the service name stands for it,
    and when even that is too long, it is cut.
    """
    value = f"{quote(namespace, safe=_SAFE)}/{quote(job, safe=_SAFE)}"
    if len(value) > MAX_ENTRY:
        value = f"{quote(namespace, safe=_SAFE)}/{quote(service, safe=_SAFE)}"
    while len(value) > MAX_ENTRY:
        # Cut whole characters, never inside an escape.
        if len(service) > 1:
            service = service[: len(service) // 2]
        else:
            namespace = namespace[: len(namespace) // 2]
        value = f"{quote(namespace, safe=_SAFE)}/{quote(service, safe=_SAFE)}"
    return value


def parse_tracestate_entry(value: str) -> tuple[str, str] | None:
    """`(namespace, job)` of the owner from an entry's value; None when it is not one of ours."""
    if not value or len(value) > MAX_ENTRY:
        return None
    namespace, slash, job = value.partition("/")
    if not slash or not namespace or not job or "/" in job:
        return None
    return unquote(namespace), unquote(job)


class UrandomIdGenerator(IdGenerator):
    """Trace and span ids from `os.urandom`, random in every bit.

    The SDK's default draws from Python's global `random`: after `random.seed(42)` two processes make the
    same trace ids, and two runs become one. UUID-shaped ids would break ratio sampling, which reads the low bits.
    """

    def generate_trace_id(self) -> int:
        """A trace id, never zero."""
        return int.from_bytes(os.urandom(16)) or self.generate_trace_id()

    def generate_span_id(self) -> int:
        """A span id, never zero."""
        return int.from_bytes(os.urandom(8)) or self.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """W3C trace context level 2: the rightmost 56 bits are random."""
        return True

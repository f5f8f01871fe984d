"""Tables of the archive: each speaks for itself, with names instead of keys, so that a day can be read without the ledger it came from."""

from __future__ import annotations

import importlib
from typing import Any

Row = tuple[Any, ...]

VERSION = 1
"""Of these columns; the manifest of each day bears it."""

TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "runs": (
        ("run_id", "uuid"), ("trace_id", "uuid"), ("parent_run_id", "uuid"), ("job_namespace", "text"), ("job", "text"), ("status", "text"),
        ("started_at", "time"), ("ended_at", "time"), ("offline", "bool"), ("service", "text"), ("environment", "text"),
        ("release", "text"), ("code_revision", "text"), ("repository", "text"), ("image_digest", "text"), ("request_id", "text"),
        ("tenant", "text"), ("subject", "text"), ("session", "text"), ("tags", "tags"), ("http_status", "int"), ("input_tokens", "long"),
        ("output_tokens", "long"), ("cost_usd", "real"), ("conflicts", "int"), ("guardrail_failures", "int"), ("gaps", "texts"),
    ),
    "edges": (
        ("run_id", "uuid"), ("role", "text"), ("kind", "text"), ("namespace", "text"), ("name", "text"), ("version", "text"),
        ("digest", "text"), ("evidence", "text"), ("top_k", "int"), ("hits", "int"),
    ),
    "operations": (
        ("run_id", "uuid"), ("span_id", "text"), ("parent_span_id", "text"), ("kind", "text"), ("name", "text"), ("provider", "text"),
        ("request_model", "text"), ("response_model", "text"), ("response_id", "text"), ("started_at", "time"), ("duration_seconds", "real"),
        ("time_to_first_token_seconds", "real"), ("error_type", "text"), ("finish_reasons", "texts"), ("streamed", "bool"),
        ("rollup", "bool"), ("input_tokens", "long"), ("output_tokens", "long"), ("tool_name", "text"), ("agent_name", "text"),
        ("parameters", "text"),
    ),
    "documents": (
        ("run_id", "uuid"), ("namespace", "text"), ("index", "text"), ("version", "text"), ("rank", "int"), ("document", "text"),
        ("score", "real"), ("source", "text"), ("document_version", "text"), ("digest", "text"),
    ),
    "guardrails": (
        ("run_id", "uuid"), ("span_id", "text"), ("name", "text"), ("version", "text"), ("phase", "text"), ("outcome", "text"),
        ("action", "text"), ("score", "real"),
    ),
    "evaluations": (
        ("run_id", "uuid"), ("name", "text"), ("score", "real"), ("label", "text"), ("passed", "bool"), ("evaluator", "text"),
        ("evaluator_version", "text"), ("eval_set", "text"), ("eval_set_version", "text"), ("evaluated_at", "text"),
    ),
    "conflicts": (
        ("run_id", "uuid"), ("kind", "text"), ("namespace", "text"), ("name", "text"), ("version", "text"), ("digest", "text"),
        ("expected_digest", "text"),
    ),
    "events": (("run_id", "uuid"), ("event_at", "time"), ("body", "text")),
}  # fmt: skip
"""Columns and their types. A table without a row on a day has no file there. Times are UTC with microseconds; `body` is the event as it came in."""


def schema(table: str) -> Any:
    """The Arrow schema of a table."""
    pa: Any = importlib.import_module("pyarrow")  # it has no types
    types: dict[str, Any] = {
        "uuid": pa.uuid(), "text": pa.string(), "time": pa.timestamp("us", tz="UTC"), "bool": pa.bool_(), "int": pa.int32(),
        "long": pa.int64(), "real": pa.float64(), "texts": pa.list_(pa.string()), "tags": pa.map_(pa.string(), pa.string()),
    }  # fmt: skip
    return pa.schema([(name, types[kind]) for name, kind in TABLES[table]])

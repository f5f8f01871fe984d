"""Spans that providers' own clients make, with no instrumentation installed: Anthropic."""

from __future__ import annotations

from spanline.dialects.coerce import finish_reasons, text
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row

_SEEN = "seen in anthropic 2.11.0"

_ROWS = (
    Row("finish_reasons", ("anthropic.message.stop_reason",), finish_reasons, _SEEN),
    Row("service_tier", ("anthropic.response.service_tier",), text, _SEEN),
)

ANTHROPIC = Dialect(
    "anthropic_sdk",
    markers=("anthropic.message.stop_reason",),
    kinds=KINDS,
    rows=(*_ROWS, *ROWS),
    priority=45,
    scopes=("com.anthropic.sdk.python",),
    events=EVENTS,
)

DIALECTS = (ANTHROPIC,)

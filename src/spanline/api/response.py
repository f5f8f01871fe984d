"""Facts of a response object of the openai or anthropic client: ids, model, usage, finish reasons; never text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def facts_of(response: Any) -> dict[str, Any]:
    """Facts of a response, a chunk or a stream event.

    Args:
        response: An object or mapping with any of `id`, `model`, `usage`, `choices`, `stop_reason`, `system_fingerprint`, `service_tier`,
            `message` (anthropic `message_start`), `delta` (anthropic `message_delta`), `response` (openai responses stream).

    Returns:
        Keyword arguments of `Inference.response`; what is not there is absent.

    Source: objects of openai 3.x (chat completions, responses, embeddings) and anthropic 2.x.
    """
    kind = _get(response, "type")
    if kind in {"message_start", "response.created", "response.completed", "response.incomplete", "response.failed"}:
        response = _get(response, "message") or _get(response, "response") or response
    found: dict[str, Any] = {}
    if kind not in {"content_block_delta", "content_block_start"}:
        for field in ("id", "model", "system_fingerprint", "service_tier"):
            value = _get(response, field)
            if isinstance(value, str) and value:
                found[field] = value
    usage = _get(response, "usage")
    if usage is not None:
        found.update(_usage(usage))
    reasons = [reason for choice in _list(response, "choices") if isinstance(reason := _get(choice, "finish_reason"), str)]
    stop = _get(response, "stop_reason") or _get(_get(response, "delta"), "stop_reason")
    if isinstance(stop, str):
        reasons.append(stop)
    if not reasons and _get(response, "object") == "response" and isinstance(_get(response, "status"), str):
        reasons.append(str(_get(response, "status")))
    if reasons:
        found["finish_reasons"] = reasons
    return found


def _usage(usage: Any) -> dict[str, Any]:
    details = _get(usage, "prompt_tokens_details") or _get(usage, "input_tokens_details")
    made = _get(usage, "completion_tokens_details") or _get(usage, "output_tokens_details")
    read, written = _get(usage, "cache_read_input_tokens"), _get(usage, "cache_creation_input_tokens")
    inputs = _first(usage, "prompt_tokens", "input_tokens")
    if inputs is not None:
        # Anthropic counts cached input beside input_tokens; our inputTokens include it, as openai's do.
        inputs += (read if isinstance(read, int) else 0) + (written if isinstance(written, int) else 0)
    counts = {
        "input_tokens": inputs,
        "output_tokens": _first(usage, "completion_tokens", "output_tokens"),
        "cache_read_input_tokens": _first(details, "cached_tokens") if read is None else read,
        "cache_write_input_tokens": written,
        "reasoning_output_tokens": _first(made, "reasoning_tokens"),
    }
    return {name: value for name, value in counts.items() if isinstance(value, int)}


def _get(holder: Any, name: str) -> Any:
    if holder is None or isinstance(holder, (str, bytes, int, float)):
        return None
    if isinstance(holder, Mapping):
        return cast(Mapping[str, Any], holder).get(name)
    return getattr(holder, name, None)


def _list(holder: Any, name: str) -> list[Any]:
    value = _get(holder, name)
    return list(cast(list[Any], value)) if isinstance(value, (list, tuple)) else []


def _first(holder: Any, *names: str) -> int | None:
    for name in names:
        value = _get(holder, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None

"""Usage: token counts out of a mapping, whatever a provider or framework calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.dialects.coerce import count
from spanline.dialects.decode import decoded

_NAMES: dict[str, tuple[str, ...]] = {
    "input_tokens": (
        "input_tokens", "prompt_tokens", "input", "inputTokens", "promptTokens", "prompt_token_count", "promptTokenCount", "tokens",
    ),
    "output_tokens": (
        "output_tokens", "completion_tokens", "output", "outputTokens", "completionTokens", "candidates_token_count",
        "candidatesTokenCount",
    ),
    "cache_read_input_tokens": (
        "cache_read_input_tokens", "input_cache_read", "input_cached_tokens", "cached_prompt_tokens", "cachedInputTokens", "cached_tokens",
        "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "input_token_details.cache_read",
        "input_tokens_details.cache_read", "inputTokenDetails.cacheReadTokens", "cached_content_token_count", "cachedContentTokenCount",
        "cache_read",
    ),
    "cache_write_input_tokens": (
        "cache_creation_input_tokens", "input_cache_creation", "cache_write_input_tokens", "input_token_details.cache_creation",
        "prompt_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_creation_tokens", "inputTokenDetails.cacheWriteTokens",
    ),
    "reasoning_output_tokens": (
        "reasoning_tokens", "output_reasoning", "output_reasoning_tokens", "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens", "output_token_details.reasoning", "outputTokenDetails.reasoningTokens",
        "reasoningTokens", "thoughts_token_count", "thoughtsTokenCount", "reasoning",
    ),
    "total": ("total_tokens", "total", "totalTokens", "total_token_count", "totalTokenCount"),
}  # fmt: skip
_Place = tuple[str, int]
_FLAT: dict[str, _Place] = {}
_NESTED: dict[str, dict[str, _Place]] = {}
for _field, _names in _NAMES.items():
    for _rank, _name in enumerate(_names):
        _parent, _dot, _child = _name.partition(".")
        if _dot:
            _NESTED.setdefault(_parent, {})[_child] = (_field, _rank)
        else:
            _FLAT[_parent] = (_field, _rank)


def usage(value: Any) -> dict[str, int] | None:
    """Token counts by field of `Fields`, cached input within the input and reasoning within the output.

    Some tools subtract those parts (exclusive buckets); the total, where there is one, tells which they do.

    Args:
        value: A mapping, or JSON or Python text of one.
    """
    held = decoded(value) if isinstance(value, str) else value
    if not isinstance(held, Mapping) or not held:
        return None
    found: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for key, value in cast(Mapping[str, Any], held).items():
        place = _FLAT.get(key)
        if place is not None:
            _take(found, ranks, place, value)
        elif key in _NESTED and isinstance(value, Mapping):
            inside = _NESTED[key]
            for child, amount in cast(Mapping[str, Any], value).items():
                place = inside.get(child)
                if place is not None:
                    _take(found, ranks, place, amount)
    total = found.pop("total", None)
    if not found:
        return None
    read, write = found.get("cache_read_input_tokens", 0), found.get("cache_write_input_tokens", 0)
    reasoning = found.get("reasoning_output_tokens", 0)
    told = found.get("input_tokens", 0) + found.get("output_tokens", 0)
    if total is None:
        # Names of Anthropic's own answer, and of Langfuse's callback: both count cached input apart.
        if ("cache_creation_input_tokens" in held or "input_cache_read" in held) and "input_tokens" in found:
            found["input_tokens"] += read + write
        if "output_reasoning" in held and "output_tokens" in found:
            found["output_tokens"] += reasoning
        return found
    if total <= told:
        return found
    apart = total - told
    if apart in (read + write + reasoning, read + write) and "input_tokens" in found:
        found["input_tokens"] += read + write
        apart -= read + write
    if apart and apart == reasoning and "output_tokens" in found:
        found["output_tokens"] += reasoning
    return found


def _take(found: dict[str, int], ranks: dict[str, int], place: _Place, value: Any) -> None:
    field, rank = place
    amount = count(value)
    if amount is not None and ranks.get(field, 99) > rank:
        found[field] = amount
        ranks[field] = rank

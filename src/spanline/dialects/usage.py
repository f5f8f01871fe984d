"""Usage: token counts out of a mapping, whatever a provider or framework calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.dialects.coerce import count
from spanline.dialects.decode import decoded, steps_of, walk

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
_PATHS = {field: tuple(steps_of(name) for name in names) for field, names in _NAMES.items()}


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
    for field, paths in _PATHS.items():
        for steps in paths:
            amount = count(walk(cast(Mapping[str, Any], held), steps))
            if amount is not None:
                found[field] = amount
                break
    total = found.pop("total", None)
    if not found:
        return None
    read, write = found.get("cache_read_input_tokens", 0), found.get("cache_write_input_tokens", 0)
    reasoning = found.get("reasoning_output_tokens", 0)
    told = found.get("input_tokens", 0) + found.get("output_tokens", 0)
    if total is None or total <= told:
        return found
    apart = total - told
    if apart in (read + write + reasoning, read + write) and "input_tokens" in found:
        found["input_tokens"] += read + write
        apart -= read + write
    if apart and apart == reasoning and "output_tokens" in found:
        found["output_tokens"] += reasoning
    return found

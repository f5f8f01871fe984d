"""OpenAI's stored prompts (`responses.create(prompt={"id": …, "version": …})`), which every instrumentation leaves out."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, cast

import spanline.semconv as s
from spanline._guard import guard
from spanline.api.operation import Operation
from spanline.errors import ConfigurationError
from spanline.record.references import PromptTemplate

_METHODS = ("create", "parse", "stream")

_lock = Lock()
_originals: dict[tuple[type[Any], str], Callable[..., Any]] = {}
_names: dict[str, str] = {}


def prompt_of(prompt: Any, *, name: str | None = None, **more: Any) -> PromptTemplate:
    """The reference of a stored prompt: the parameter `prompt=` of a call, or `response.prompt`.

    Its text is OpenAI's alone, so that there is no digest, and its variables are content. Without a version OpenAI takes the newest one.

    Args:
        prompt: A mapping or object with `id` and perhaps `version`.
        name: Instead of the id.
        **more: Further arguments of `spanline.PromptTemplate`: `owner`, `digest` …

    Raises:
        ConfigurationError: No stored prompt.
    """
    found, version = _part(prompt, "id"), _part(prompt, "version")
    if found is None:
        raise ConfigurationError(f"openai_prompts.prompt_of: expected a stored prompt with an id, got {type(prompt).__name__}")
    return PromptTemplate(name or _names.get(found, found), version, **more)


def instrument(names: Mapping[str, str] | None = None) -> None:
    """Make the stored prompt of each `responses.create`, `parse` and `stream` an artifact of its run; a second call adds names.

    Calls without one are passed on as they are. Where the request names no version, the one that the answer names is taken (not of
    streams, whose answer comes later). One span a call with a stored prompt.

    Args:
        names: What prompts are called, by their ids: `{"pmpt_68…": "fees"}`; others bear their id.

    Raises:
        ConfigurationError: The openai package is missing or too old.
    """
    try:
        module: Any = importlib.import_module("openai.resources.responses")
    except ImportError as error:
        raise ConfigurationError("openai_prompts.instrument: install openai 1.66 or newer") from error
    with _lock:
        _names.update(names or {})
        for cls in (module.Responses, module.AsyncResponses):
            for method in _METHODS:
                original = getattr(cls, method, None)
                if original is not None and (cls, method) not in _originals:
                    _originals[cls, method] = original
                    awaited = cls is module.AsyncResponses and method != "stream"
                    setattr(cls, method, _around_async(original) if awaited else _around(original))


def uninstrument() -> None:
    """Leave the client as it was."""
    with _lock:
        for (cls, method), original in _originals.items():
            setattr(cls, method, original)
        _originals.clear()
        _names.clear()


def _around(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recorded(*args: Any, **keywords: Any) -> Any:
        operation = _operation(keywords)
        if operation is None:
            return call(*args, **keywords)
        with operation:
            answer = call(*args, **keywords)
            _answered(operation, answer)
            return answer

    return recorded


def _around_async(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    async def recorded(*args: Any, **keywords: Any) -> Any:
        operation = _operation(keywords)
        if operation is None:
            return await call(*args, **keywords)
        with operation:
            answer = await call(*args, **keywords)
            _answered(operation, answer)
            return answer

    return recorded


def _operation(keywords: Mapping[str, Any]) -> Operation | None:
    prompt = keywords.get("prompt")
    # What the client puts where nothing was given is no mapping.
    if isinstance(prompt, Mapping):
        with guard("integrations.openai_prompts"):
            named = cast("Mapping[str, Any]", prompt)
            if _part(named, "id") is not None:
                reference = prompt_of(named)
                return Operation("prompt", "prompt", reference.name, _facts(reference))
    return None


def _answered(operation: Operation, answer: Any) -> None:
    with guard("integrations.openai_prompts"):
        prompt = getattr(answer, "prompt", None)
        if prompt is not None and _part(prompt, "id") is not None and _part(prompt, "version") is not None:
            operation.attributes(_facts(prompt_of(prompt)))


def _facts(prompt: PromptTemplate) -> dict[str, Any]:
    return {s.PROMPT_NAME: prompt.name, s.PROMPT_VERSION: prompt.version, s.SPANLINE_ARTIFACTS: prompt.encoded}


def _part(prompt: Any, key: str) -> str | None:
    value = cast("Mapping[str, Any]", prompt).get(key) if isinstance(prompt, Mapping) else getattr(prompt, key, None)
    return str(value) if isinstance(value, (str, int)) and str(value) else None

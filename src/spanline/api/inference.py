"""Inference and embedding by hand: response facts, first token, streams."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Self, TypeVar, overload

from opentelemetry.trace import SpanKind

import spanline.semconv as s
from spanline._guard import guard, report
from spanline.api.operation import Operation, joined
from spanline.api.response import facts_of
from spanline.naming import versioned
from spanline.record.references import Model, PromptTemplate

T = TypeVar("T")

_KEYS = {
    "model": s.RESPONSE_MODEL,
    "id": s.RESPONSE_ID,
    "input_tokens": s.INPUT_TOKENS,
    "output_tokens": s.OUTPUT_TOKENS,
    "cache_read_input_tokens": s.CACHE_READ_TOKENS,
    "cache_write_input_tokens": s.CACHE_WRITE_TOKENS,
    "reasoning_output_tokens": s.REASONING_TOKENS,
    "finish_reasons": s.FINISH_REASONS,
    "system_fingerprint": s.SYSTEM_FINGERPRINT,
    "service_tier": s.SERVICE_TIER,
    "cost_usd": s.SPANLINE_COST,
}


class Inference(Operation):
    """One call of a model; made by `inference()` and `embedding()`."""

    _started = 0.0
    _first: float | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        # After the span's own start: the first token is never later than the end.
        self._started = time.perf_counter()
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def response(self, response: Any = None, **facts: Any) -> None:
        """Record what the model answered.

        Args:
            response: A response object of the openai or anthropic client (or a mapping of that shape); only ids, model, usage and
                finish reasons are read, never text.
            **facts: `model`, `id`, `input_tokens`, `output_tokens`, `cache_read_input_tokens`, `cache_write_input_tokens`,
                `reasoning_output_tokens`, `finish_reasons`, `system_fingerprint`, `service_tier`, `cost_usd`; they beat the object's.
                Unit: tokens, US dollars. Others are left out and counted as an internal error.

        Raises:
            Nothing.
        """
        try:
            known = facts
            if response is not None:
                known = {**facts_of(response), **{key: value for key, value in facts.items() if value is not None}}
            reasons = known.get("finish_reasons")
            if isinstance(reasons, str):
                known["finish_reasons"] = [reasons]
            self.attributes({_KEYS[key]: known[key] for key in known if key in _KEYS})
            unknown = known.keys() - _KEYS.keys()
            if unknown:
                raise TypeError(f"response() does not know {', '.join(sorted(unknown))}; known: {', '.join(_KEYS)}")
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("api.response", error)

    def first_token(self) -> None:
        """Mark the first token of a streamed answer; later calls change nothing."""
        if self._first is None:
            self._first = time.perf_counter()
            self._late[s.TIME_TO_FIRST_CHUNK] = self._first - self._started
            self._late.setdefault(s.STREAM, True)

    @overload
    def stream(self, iterator: AsyncIterable[T]) -> AsyncIterator[T]: ...
    @overload
    def stream(self, iterator: Iterable[T]) -> Iterator[T]: ...
    def stream(self, iterator: Any) -> Any:
        """Pass a stream through: marks the first token, reads model, id, usage and finish reasons from its chunks.

        The span ends with the stream, also when the `with` block is left before (a StreamingResponse). Chunks are passed on as they are,
        at once. Exceptions of the stream pass and mark the span.

        Args:
            iterator: Iterable or async iterable of chunks of the openai or anthropic client, or of anything.
        """
        self._held = True
        self._late.setdefault(s.STREAM, True)
        return self._around_async(iterator) if hasattr(iterator, "__aiter__") else self._around(iterator)

    def _around(self, iterator: Iterable[Any]) -> Iterator[Any]:
        try:
            for chunk in iterator:
                self._chunk(chunk)
                yield chunk
        except BaseException as error:
            self._broken(error)
            raise
        finally:
            self._released()

    async def _around_async(self, iterator: AsyncIterable[Any]) -> AsyncIterator[Any]:
        try:
            async for chunk in iterator:
                self._chunk(chunk)
                yield chunk
        except BaseException as error:
            self._broken(error)
            raise
        finally:
            self._released()

    def _chunk(self, chunk: Any) -> None:
        self.first_token()
        with guard("api.stream"):
            self.attributes({_KEYS[key]: value for key, value in facts_of(chunk).items() if key in _KEYS})

    def _broken(self, error: BaseException) -> None:
        if not isinstance(error, GeneratorExit):
            with guard("api.stream"):
                self._failed(error)

    def _released(self) -> None:
        self._held = False
        if self._left:
            with guard("api.stream"):
                self._end()

    def _returned(self, result: Any) -> None:
        with guard("api.response"):
            found = facts_of(result)
            if found:
                self.attributes({_KEYS[key]: value for key, value in found.items() if key in _KEYS})


def inference(
    provider: str | None = None,
    model: str | Model | None = None,
    *,
    prompt: PromptTemplate | str | None = None,
    operation: str = "chat",
    **parameters: float | None,
) -> Inference:
    """An inference: `with inference("openai", "gpt-4o", prompt=FEES, temperature=0.2) as call: …`.

    Args:
        provider: `gen_ai.provider.name`, e.g. `openai`.
        model: Requested model: a name, or a `Model` reference with version and digest.
        prompt: The template that was rendered; or its name, or `name@version`, where the text is elsewhere.
        operation: `chat`, `text_completion` or `generate_content`.
        **parameters: `temperature`, `top_p`, `top_k`, `max_tokens`, `seed`, `frequency_penalty`, `presence_penalty`, `choices`; others
            are ignored.

    Source: OpenTelemetry GenAI semantic conventions, inference span.
    """
    attributes: dict[str, Any] = {s.PROVIDER_NAME: provider}
    for name, value in parameters.items():
        if name in s.SAMPLING_PARAMETERS:
            attributes[s.SAMPLING_PARAMETERS[name]] = value
    return Inference("inference", operation, *_model(model, attributes, prompt), span_kind=SpanKind.CLIENT)


def embedding(provider: str | None = None, model: str | Model | None = None) -> Inference:
    """An embedding call; `call.response(model=…, input_tokens=…)` as for an inference."""
    return Inference("embedding", "embeddings", *_model(model, {s.PROVIDER_NAME: provider}, None), span_kind=SpanKind.CLIENT)


def _model(model: str | Model | None, attributes: dict[str, Any], prompt: PromptTemplate | str | None) -> tuple[str | None, dict[str, Any]]:
    encoded: list[str] = []
    name = model
    if isinstance(model, Model):
        name = model.name
        encoded.append(model.encoded)
    attributes[s.REQUEST_MODEL] = name
    if isinstance(prompt, str):
        attributes[s.PROMPT_NAME], attributes[s.PROMPT_VERSION] = versioned(prompt)
    elif isinstance(prompt, PromptTemplate):
        attributes[s.PROMPT_NAME] = prompt.name
        attributes[s.PROMPT_VERSION] = prompt.version
        attributes[s.PROMPT_DIGEST] = prompt.digest
        encoded.append(prompt.encoded)
    attributes[s.SPANLINE_ARTIFACTS] = joined(*encoded) if len(encoded) > 1 else encoded[0] if encoded else None
    return (str(name) if name else None), attributes

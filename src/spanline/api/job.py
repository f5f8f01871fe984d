"""job(): offline work (index builds, training, evaluation, batches) as a run with inputs and outputs."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Generator, Iterable
from contextvars import Token
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode

import spanline.semconv as s
from spanline._guard import guard, warn_once_a_minute
from spanline.api.operation import current_sink
from spanline.errors import error_type
from spanline.naming import offline_job
from spanline.record.active import CURRENT, SEED, ActiveRun, leave, mark_root, run_id
from spanline.record.artifact import Artifact
from spanline.record.reference import Reference
from spanline.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Job:
    """A run of its own; made by `job()`. Context manager (with, async with) and decorator."""

    def __init__(self, name: str, inputs: Iterable[Reference], outputs: Iterable[Reference]) -> None:
        self._name = name
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._source: str | None = None
        self._run: ActiveRun | None = None
        self._span: trace.Span = trace.INVALID_SPAN
        self._token: Token[Context] | None = None
        self._current: Token[ActiveRun | None] | None = None

    @property
    def run(self) -> ActiveRun | None:
        """The run while it goes on; None outside and when disabled."""
        return self._run

    def parameters(self, **values: Any) -> None:
        """Record parameters (hyperparameters, chunk sizes …): written as strings into `executionParameters`."""
        with guard("api.job"):
            if self._run is not None:
                self._run.parameters = {**self._run.parameters, **{name: str(value) for name, value in values.items()}}

    def metrics(self, **values: float) -> None:
        """Record results as numbers (loss, rows, recall …)."""
        with guard("api.job"):
            if self._run is not None:
                self._run.metrics = {**self._run.metrics, **{name: float(value) for name, value in values.items()}}

    def inputs(self, *references: Reference) -> None:
        """Add what the job read, when it is known later."""
        self._add(references, "input")

    def outputs(self, *references: Reference) -> None:
        """Add what the job made, when it is known later (an index with its digest)."""
        self._add(references, "output")

    def _add(self, references: Iterable[Reference], role: str) -> None:
        with guard("api.job"):
            if self._run is None:
                return
            for reference in references:
                self._run.add("artifacts", *_artifacts(reference, role))

    def __enter__(self) -> Self:
        with guard("api.job.start"):
            sink = current_sink()
            if sink is None:
                return self
            run = ActiveRun(sink)
            run.is_job = True
            run.job = offline_job(sink.settings.service, self._name)
            run.source_path = self._source
            context = _parent_from_environment() if not trace.get_current_span().get_span_context().is_valid else None
            for role, references in (("input", self._inputs), ("output", self._outputs)):
                for reference in references:
                    run.add("artifacts", *_artifacts(reference, role))
            seed = SEED.set(run)
            try:
                self._span = sink.tracer.start_span(run.job, context=context, attributes={s.JOB: self._name})
            finally:
                SEED.reset(seed)
            self._token = otel_context.attach(trace.set_span_in_context(self._span))
            if run.span is None:
                return self
            self._run = run
            base = sink.settings.base_url
            mark_root(run, run_id(run), f"{base}/r/{run.trace_id:032x}" if base else None)
            self._current = CURRENT.set(run)
            run.start_sent = True
            sink.started(run)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with guard("api.job.end"):
            if self._current is not None:
                leave(self._current)
                self._current = None
            if self._token is not None:
                leave(self._token)
                self._token = None
            run = self._run
            if error is not None:
                if isinstance(error, Exception):
                    self._span.set_status(Status(StatusCode.ERROR))
                if run is not None:
                    run.error_type = error_type(error)
                    # Ctrl-C, cancellation and generator exit are not failures of the work.
                    run.aborted = not isinstance(error, Exception) and not isinstance(error, SystemExit)
                    run.failed = not run.aborted
                self._span.set_attribute(s.ERROR_TYPE, error_type(error))
            self._span.end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator or async generator: one run a call."""

        def fresh() -> Job:
            return _named(Job(self._name, self._inputs, self._outputs), function.__code__.co_filename)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def around_async_generator(*args: Any, **keywords: Any) -> Any:
                with fresh():
                    async for item in function(*args, **keywords):
                        yield item

            return cast(F, around_async_generator)
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def around_generator(*args: Any, **keywords: Any) -> Any:
                with fresh():
                    result: Any = yield from cast("Generator[Any, Any, Any]", function(*args, **keywords))
                    return result

            return cast(F, around_generator)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def around_coroutine(*args: Any, **keywords: Any) -> Any:
                with fresh():
                    return await function(*args, **keywords)

            return cast(F, around_coroutine)

        @functools.wraps(function)
        def around(*args: Any, **keywords: Any) -> Any:
            with fresh():
                return function(*args, **keywords)

        return cast(F, around)


def job(name: str, *, inputs: Iterable[Reference] = (), outputs: Iterable[Reference] = ()) -> Job:
    """Offline work with lineage: `with job("index_build", inputs=[CORPUS], outputs=[INDEX]) as work: …`.

    Without a parent span it is the root run of a trace of its own, or of the one in `TRACEPARENT`; `OPENLINEAGE_PARENT_ID`
    (`namespace/job/run id`) becomes its parent. Inside a request or another job it is a child run. Its START is journalled at once.

    Args:
        name: Second half of the job's name, `<service>.<name>`.
        inputs: References to what it reads.
        outputs: References to what it makes.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    return _named(Job(name, inputs, outputs), caller.f_code.co_filename if caller is not None else None)


def _named(work: Job, source: str | None) -> Job:
    work._source = source if source and not source.startswith("<") else None  # pyright: ignore[reportPrivateUsage]
    return work


def _artifacts(reference: Reference, role: str) -> list[Artifact]:
    """A reference and what it is made of: the parts of an output are inputs, for the job read them; nothing of what is none."""
    if not isinstance(reference, Reference):  # pyright: ignore[reportUnnecessaryIsInstance]
        warn_once_a_minute(
            "job.reference", f"spanline: job(): {type(reference).__name__} is no reference; use spanline.Dataset(…) and the like"
        )
        return []
    if role == "input":
        return list(reference.artifacts(role="input", evidence="declared"))
    made, *parts = reference.artifacts(role="output", evidence="declared")
    return [made, *(msgspec.structs.replace(part, role="input") for part in parts)]


def _parent_from_environment() -> Context | None:
    """Remote parent from `TRACEPARENT` and `TRACESTATE` (OpenTelemetry: environment variables as carriers)."""
    traceparent = os.environ.get("TRACEPARENT")
    if not traceparent:
        return None
    return propagate.extract({"traceparent": traceparent, "tracestate": os.environ.get("TRACESTATE", "")})


def parent_id_from_environment(settings: Settings) -> tuple[str, str, str] | None:
    """`(namespace, job, run id)` of `OPENLINEAGE_PARENT_ID`; None when it is not set or malformed."""
    del settings
    namespace, _, rest = os.environ.get("OPENLINEAGE_PARENT_ID", "").partition("/")
    name, _, run_id = rest.rpartition("/")
    return (namespace, name, run_id) if namespace and name and run_id else None

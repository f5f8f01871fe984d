"""spanline: one trace id, from an LLM answer to everything that made it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spanline.version import VERSION

__version__ = VERSION

_WHERE: dict[str, str] = {
    "instrument": "spanline.runtime.configure",
    "configure": "spanline.runtime.configure",
    "Runtime": "spanline.runtime.runtime",
    "SpanlineMiddleware": "spanline.asgi.middleware",
    "LineageSampler": "spanline.tracing.sampler",
    "LineageSpanProcessor": "spanline.tracing.processor",
    "inference": "spanline.api.inference",
    "embedding": "spanline.api.inference",
    "retrieval": "spanline.api.retrieval",
    "rerank": "spanline.api.retrieval",
    "tool": "spanline.api.steps",
    "agent": "spanline.api.steps",
    "workflow": "spanline.api.steps",
    "guardrail": "spanline.api.steps",
    "job": "spanline.api.job",
    "evaluation": "spanline.api.evaluation",
    "context": "spanline.api.context",
    "current": "spanline.api.context",
    "LineageFilter": "spanline.api.logs",
    "lineage_processor": "spanline.api.logs",
    "headers": "spanline.api.context",
    "Model": "spanline.record.references",
    "PromptTemplate": "spanline.record.references",
    "Index": "spanline.record.references",
    "Corpus": "spanline.record.references",
    "Dataset": "spanline.record.references",
    "Code": "spanline.record.references",
    "Release": "spanline.record.references",
    "EvalSet": "spanline.record.references",
    "SpanlineError": "spanline.errors",
    "ConfigurationError": "spanline.errors",
}

__all__ = ["__version__", *_WHERE]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from spanline.api.context import context as context
    from spanline.api.context import current as current
    from spanline.api.context import headers as headers
    from spanline.api.evaluation import evaluation as evaluation
    from spanline.api.inference import embedding as embedding
    from spanline.api.inference import inference as inference
    from spanline.api.job import job as job
    from spanline.api.logs import LineageFilter as LineageFilter
    from spanline.api.logs import lineage_processor as lineage_processor
    from spanline.api.retrieval import rerank as rerank
    from spanline.api.retrieval import retrieval as retrieval
    from spanline.api.steps import agent as agent
    from spanline.api.steps import guardrail as guardrail
    from spanline.api.steps import tool as tool
    from spanline.api.steps import workflow as workflow
    from spanline.asgi.middleware import SpanlineMiddleware as SpanlineMiddleware
    from spanline.errors import ConfigurationError as ConfigurationError
    from spanline.errors import SpanlineError as SpanlineError
    from spanline.record.references import Code as Code
    from spanline.record.references import Corpus as Corpus
    from spanline.record.references import Dataset as Dataset
    from spanline.record.references import EvalSet as EvalSet
    from spanline.record.references import Index as Index
    from spanline.record.references import Model as Model
    from spanline.record.references import PromptTemplate as PromptTemplate
    from spanline.record.references import Release as Release
    from spanline.runtime.configure import configure as configure
    from spanline.runtime.configure import instrument as instrument
    from spanline.runtime.runtime import Runtime as Runtime
    from spanline.tracing.processor import LineageSpanProcessor as LineageSpanProcessor
    from spanline.tracing.sampler import LineageSampler as LineageSampler


def __getattr__(name: str) -> Any:
    """Public names are imported on first use, so that `import spanline` stays cheap (PEP 562)."""
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'spanline' has no attribute {name!r}")
    value = getattr(import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Artifacts: what one operation used, out of the fields of its span."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from spanline.dialects.fields import Fields
from spanline.dialects.loose import prompts_of
from spanline.naming import model_dataset_name
from spanline.record.artifact import Artifact, Retrieval
from spanline.record.run import MODEL_CALLS, Operation

_BARE = frozenset({"guardrail", "tool", "agent", "workflow", "other"})


def artifacts_of(fields: Fields, operation: Operation, service: str) -> tuple[Artifact, ...]:
    """What the operation used: named by the span's references first, else by the conventions' attributes."""
    named = fields.artifacts or ()
    kind = operation.kind
    prompt = fields.prompt_name or fields.said_prompt_name or fields.hub_name
    if not named and kind in _BARE and prompt is None and fields.index_name is None:
        return ()
    kinds = [artifact.kind for artifact in named]
    found = named
    model = operation.response_model or operation.request_model
    if model and (kind in MODEL_CALLS or kind == "rerank") and "model" not in kinds:
        found = (*found, _model(operation.provider, model))
    if prompt is not None and "prompt" not in kinds:
        found = (*found, *prompts_of(fields))
    if kind == "retrieval" or kind == "rerank" or fields.documents is not None:
        return _with_retrieval(fields, operation, service, found)
    if fields.index_name is not None and "index" not in kinds:
        return (*found, _index(fields))
    return found


def _index(fields: Fields, facts: Retrieval | None = None) -> Artifact:
    assert fields.index_name is not None
    return Artifact(
        kind="index",
        name=fields.index_name,
        role="output" if fields.index_written else "input",
        evidence="inferred" if fields.parsed is not None and "index_name" in fields.parsed else "observed",
        retrieval=facts,
    )


@lru_cache(1024)
def _model(provider: str | None, model: str) -> Artifact:
    return Artifact(kind="model", name=model_dataset_name(provider, model, None))


def _with_retrieval(fields: Fields, operation: Operation, service: str, found: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
    """Hang the retrieved documents on the index; on `<service>.<retriever>`, inferred, where nobody named one."""
    documents = fields.documents
    hits = fields.hits
    if hits is None and documents is not None:
        hits = len(documents)
    facts = Retrieval(top_k=fields.retrieval_top_k, hits=hits, documents=documents or (), span_id=operation.span_id)
    for position, artifact in enumerate(found):
        if artifact.kind == "index":
            return (*found[:position], msgspec.structs.replace(artifact, retrieval=facts), *found[position + 1 :])
    if fields.index_name is not None:
        return (*found, _index(fields, facts))
    if not documents:
        return found
    retriever = fields.retriever_name or operation.tool_name or operation.agent_name or "retriever"
    return (*found, Artifact(kind="index", name=f"{service}.{retriever}", evidence="inferred", retrieval=facts))

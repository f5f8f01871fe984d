"""Shapes: rows for JSON that many tools put into an attribute of their own name: a provider's request and answer, LangChain's."""

from __future__ import annotations

from dataclasses import replace

from spanline.dialects.coerce import count, finish_reasons, flag, integer, name, number, text
from spanline.dialects.found import ALL
from spanline.dialects.table import Row
from spanline.dialects.usage import usage

_MODELS = ("inference", "embedding")
_PARAMETERS = (
    ("temperature", number, ("temperature",)),
    ("top_p", number, ("top_p",)),
    ("top_k", number, ("top_k",)),
    ("max_tokens", count, ("max_tokens", "max_completion_tokens", "max_output_tokens")),
    ("seed", integer, ("seed",)),
    ("frequency_penalty", number, ("frequency_penalty",)),
    ("presence_penalty", number, ("presence_penalty",)),
    ("choices", count, ("n",)),
    ("streamed", flag, ("stream",)),
)


def unseen(rows: tuple[Row, ...], *members: str) -> tuple[Row, ...]:
    """Rows, of which those that end in one of the members (all, without members) were read of and not seen in a recording."""
    return tuple(replace(row, documented=True) if not members or (row.path or row.keys[0]).endswith(members) else row for row in rows)


def request(key: str, source: str, *, model: bool = True, prefix: str = "") -> tuple[Row, ...]:
    """Rows for the parameters of a request to a model, as providers name them.

    Args:
        key: Attribute that holds them.
        source: See `Row`.
        model: Whether `model` in it is the requested one.
        prefix: Path to them.
    """
    rows = [
        Row(field, (key,), coerce, source, path=f"{prefix}{member}", kinds=_MODELS)
        for field, coerce, members in _PARAMETERS
        for member in members
    ]
    if model:
        rows += [Row("request_model", (key,), text, source, path=f"{prefix}{member}", kinds=_MODELS) for member in ("model", "model_name")]
    rows += [
        Row("prompt_name", (key,), name, source, path=f"{prefix}prompt.id", kinds=_MODELS),
        Row("prompt_version", (key,), name, source, path=f"{prefix}prompt.version", kinds=_MODELS),
    ]
    return tuple(rows)


def answer(key: str, source: str, *, prefix: str = "") -> tuple[Row, ...]:
    """Rows for a provider's answer: OpenAI chat, responses and embeddings, Anthropic messages."""
    kinds = _MODELS
    return (
        Row("response_id", (key,), text, source, path=f"{prefix}id", kinds=("inference",)),
        Row("response_model", (key,), text, source, path=f"{prefix}model", kinds=kinds),
        Row("system_fingerprint", (key,), text, source, path=f"{prefix}system_fingerprint", kinds=("inference",)),
        Row("service_tier", (key,), text, source, path=f"{prefix}service_tier", kinds=("inference",)),
        Row("finish_reasons", (key,), finish_reasons, source, path=f"{prefix}choices[].finish_reason", kinds=("inference",)),
        Row("finish_reasons", (key,), finish_reasons, source, path=f"{prefix}stop_reason", kinds=("inference",)),
        Row("finish_reasons", (key,), finish_reasons, source, path=f"{prefix}status", kinds=("inference",)),
        Row(ALL, (key,), usage, source, path=f"{prefix}usage", kinds=kinds),
    )


def langchain(key: str, source: str) -> tuple[Row, ...]:
    """Rows for what LangChain's chat models give: generations, each with the provider's facts in its message."""
    rows: list[Row] = []
    for place in ("generations[0][0].message.kwargs.response_metadata", "llm_output"):
        rows += [
            Row("response_id", (key,), text, source, path=f"{place}.id", kinds=("inference",)),
            Row("response_model", (key,), text, source, path=f"{place}.model_name", kinds=("inference",)),
            Row("system_fingerprint", (key,), text, source, path=f"{place}.system_fingerprint", kinds=("inference",)),
            Row("service_tier", (key,), text, source, path=f"{place}.service_tier", kinds=("inference",)),
            Row("finish_reasons", (key,), finish_reasons, source, path=f"{place}.finish_reason", kinds=("inference",)),
            Row(ALL, (key,), usage, source, path=f"{place}.token_usage", kinds=("inference",)),
        ]
    rows += [
        Row("response_model", (key,), text, source, path="generations[0][0].generation_info.model_name", kinds=("inference",)),
        Row("finish_reasons", (key,), finish_reasons, source, path="generations[0][].generation_info.finish_reason", kinds=("inference",)),
        Row(ALL, (key,), usage, source, path="generations[0][0].message.kwargs.usage_metadata", kinds=("inference",)),
    ]
    return tuple(rows)


def hub(keys: str, source: str, *, path: str = "") -> tuple[Row, ...]:
    """Rows for what LangChain and its users write into metadata: the prompt's hub commit, the retriever, the agent.

    Args:
        keys: Beginning of the attribute keys, or with `path` the attribute that holds the metadata.
        source: See `Row`.
        path: "json" where the metadata is JSON in one attribute.
    """
    members = (
        ("hub_name", name, "lc_hub_repo", ()),
        ("hub_version", name, "lc_hub_commit_hash", ()),
        ("said_prompt_name", name, "prompt_name", ()),
        ("said_prompt_version", name, "prompt_version", ()),
        ("retriever_name", name, "ls_retriever_name", ("retrieval",)),
        ("retriever_name", name, "ls_vector_store_provider", ("retrieval",)),
        ("agent_name", name, "lc_agent_name", ("agent", "workflow")),
        ("provider", name, "ls_provider", ("inference", "embedding")),
        ("request_model", name, "ls_model_name", ("inference", "embedding")),
        ("temperature", number, "ls_temperature", ("inference",)),
        ("max_tokens", count, "ls_max_tokens", ("inference",)),
    )
    return tuple(
        Row(field, (keys if path else f"{keys}{member}",), coerce, source, path=member if path else "", kinds=kinds)
        for field, coerce, member, kinds in members
    )

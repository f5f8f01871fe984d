"""RunRecord: everything known of one run, ready to become OpenLineage events.

The parts that go into facets are encoded as they stand: field names become camelCase and
what is not known is left out (contract.md, "Run facets": never null, never a guess).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from spanline.record.artifact import Artifact

Kind = Literal[
    "inference", "embedding", "retrieval", "rerank", "tool", "agent", "workflow",
    "guardrail", "prompt", "evaluation", "other",
]  # fmt: skip
Outcome = Literal["COMPLETE", "FAIL", "ABORT"]

MAX_OPERATIONS = 1000
MODEL_CALLS: frozenset[str] = frozenset({"inference", "embedding"})
"""Kinds of operations that call a model and bear its usage."""


class _Facts(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """Base of all parts: camelCase outside, unknown left out."""


class Parameters(_Facts):
    """Sampling parameters of one inference."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    choices: int | None = None


class ModelUsage(_Facts, kw_only=True):
    """Tokens of one provider, model and operation kind in one run."""

    provider: str | None = None
    model: str | None = None
    operation: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Usage(_Facts):
    """Tokens and cost; each model response counted once. Unit: tokens, US dollars."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    embedding_input_tokens: int | None = None
    cost_usd: float | None = None
    by_model: tuple[ModelUsage, ...] | None = None


def embedded(usage: Usage) -> None:
    """Turn the usage of an embedding, which conventions call input tokens, into what it is; `inputTokens` are those of inferences."""
    if usage.embedding_input_tokens is None:
        usage.embedding_input_tokens = usage.input_tokens
    usage.input_tokens = usage.output_tokens = None


class Operation(_Facts, kw_only=True):
    """One operation of a run (one span); an entry of the `spanline_operations` facet.

    `started_at` is RFC 3339 UTC; durations are seconds; span ids are 16 hex.
    """

    span_id: str
    parent_span_id: str | None = None
    kind: Kind = msgspec.field(default_factory=lambda: "other")
    """By factory, since `omit_defaults` would leave a plain default out of the JSON."""
    name: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    finish_reasons: list[str] | None = None
    streamed: bool | None = None
    time_to_first_token_seconds: float | None = None
    started_at: str | None = None
    duration_seconds: float | None = None
    error_type: str | None = None
    parameters: Parameters | None = None
    usage: Usage | None = None
    tool_name: str | None = None
    agent_name: str | None = None
    dialect: str | None = None
    rollup: bool | None = None


class GuardrailOutcome(_Facts, kw_only=True):
    """One guardrail's verdict; `outcome` is pass, fail, error or skip."""

    name: str
    version: str | None = None
    phase: str | None = None
    outcome: str
    action: str | None = None
    score: float | None = None
    reason: str | None = None
    """Content: None unless `SPANLINE_ALLOW` has it."""
    span_id: str | None = None


class Conflict(_Facts, kw_only=True):
    """The same label with another digest than the first seen."""

    kind: str
    namespace: str
    name: str
    version: str | None = None
    digest: str
    expected_digest: str
    first_seen_run_id: str | None = None


class Evaluation(_Facts, kw_only=True):
    """One score or verdict on a run."""

    name: str
    score: float | None = None
    label: str | None = None
    passed: bool | None = None
    evaluator: str | None = None
    evaluator_version: str | None = None
    eval_set: str | None = None
    eval_set_version: str | None = None
    evaluated_at: str | None = None


class Release(_Facts, kw_only=True):
    """What was running: code, image, deployment (the `spanline_release` facet)."""

    release: str | None = None
    code_revision: str | None = None
    code_dirty: bool | None = None
    repository: str | None = None
    image_digest: str | None = None
    lock_digest: str | None = None
    deployment: str | None = None
    argo_revision: str | None = None
    rollout_hash: str | None = None
    mesh_revision: str | None = None
    region: str | None = None
    instance_type: str | None = None
    pod: str | None = None


class JobRef(_Facts, kw_only=True):
    """A job and one of its runs; `run_id` is a dashed UUID."""

    run_id: str
    namespace: str
    name: str


class RunRecord(_Facts, kw_only=True):
    """One run. Times are Unix nanoseconds; ids of people are keyed digests already.

    `sequence` counts the terminal events of the run: 0 for the first, n for the n-th straggler. Sequences are tuples: a record is kept as
    long as late spans are taken, and Python's collector walks lists again and again.
    """

    run_id: str
    trace_id: str
    span_id: str
    namespace: str
    job: str
    service: str
    started_ns: int
    ended_ns: int | None = None
    outcome: Outcome | None = None
    error_type: str | None = None
    sequence: int = 0
    finite: bool = False
    """All numbers are known to be finite: they were read from spans, which are checked, and nobody set others."""
    sampled: bool = True
    live: bool = True
    """False for offline work: a `job()` (jobType BATCH instead of SERVICE)."""
    environment: str | None = None
    parent: JobRef | None = None
    root: JobRef | None = None
    request_id: str | None = None
    tenant: str | None = None
    subject: str | None = None
    session: str | None = None
    tags: dict[str, str] = {}
    http_status_code: int | None = None
    run_url: str | None = None
    release: Release | None = None
    operations: tuple[Operation, ...] = ()
    operations_dropped: int = 0
    artifacts: tuple[Artifact, ...] = ()
    usage: Usage | None = None
    guardrails: tuple[GuardrailOutcome, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    parameters: dict[str, str] = {}
    """Of a `job()`: hyperparameters, for `executionParameters`."""
    metrics: dict[str, float] = {}
    """Of a `job()`: results such as a loss or a row count."""
    source_path: str | None = None
    """Of a `job()`: the source file, relative to the repository."""

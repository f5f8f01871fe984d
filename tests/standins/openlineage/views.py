"""What the server answers about what it has stored."""

from __future__ import annotations

from typing import Any

from tests.standins.openlineage.model import Facets, Job, Key, Run, State, merged
from tests.standins.openlineage.times import format_time

View = dict[str, Any]


def run_view(run: Run) -> View:
    """A run."""
    duration = (run.ended - run.started) // 1_000_000 if run.ended is not None and run.started is not None else None
    version = {"namespace": run.job.namespace, "name": run.job.name, "version": "…"} if run.versioned else None
    return {
        "id": run.id,
        "createdAt": format_time(run.created),
        "updatedAt": format_time(run.updated),
        "nominalStartTime": None,
        "nominalEndTime": None,
        "state": run.state,
        "startedAt": format_time(run.started),
        "endedAt": format_time(run.ended),
        "durationMs": duration,
        "args": run.args,
        "jobVersion": version,
        "inputDatasetVersions": _dataset_versions(run.inputs),
        "outputDatasetVersions": _dataset_versions(run.outputs),
        "facets": merged(run.facets),
    }


def job_view(state: State, job: Job) -> View:
    """A job, with its ten latest runs and the facets of its current version."""
    runs = [run_view(run) for run in state.latest_of(job)[:10]]
    facets = merged(job.version.facets) if job.version else {}
    job_type: View = facets.get("jobType") or {}
    return {
        **_job(job),
        "latestRun": runs[0] if runs else None,
        "latestRuns": runs or None,
        "facets": facets,
        "currentVersion": "…" if job.version else None,
        "labels": [job_type[name] for name in ("jobType", "integration") if job_type.get(name)],
        "tags": [],
    }


def graph_view(state: State, node: str, depth: int) -> View | None:
    """The graph around `job:<namespace>:<name>` or `dataset:…`; None when there is no such node.

    Depth counts jobs: those at the node, and `depth` times those that share a dataset with them.
    """
    kind, _, rest = node.partition(":")
    namespace, _, name = rest.partition(":")
    key = (namespace, name)
    jobs: set[Key] = set()
    if kind == "job" and key in state.jobs:
        jobs = {key}
    elif kind == "dataset" and key in state.datasets:
        jobs = {job.key for job in state.jobs.values() if key in job.inputs or key in job.outputs}
    else:
        return None
    for _ in range(depth):
        shared = {dataset for one in jobs for dataset in _datasets(state.jobs[one])}
        jobs |= {job.key for job in state.jobs.values() if shared & set(_datasets(job))}
    datasets = {dataset for one in jobs for dataset in _datasets(state.jobs[one])} | ({key} if kind == "dataset" else set())
    edges = [
        edge
        for one in sorted(jobs)
        for edge in (
            *({"origin": f"dataset:{ns}:{n}", "destination": _node(state.jobs[one])} for ns, n in state.jobs[one].inputs),
            *({"origin": _node(state.jobs[one]), "destination": f"dataset:{ns}:{n}"} for ns, n in state.jobs[one].outputs),
        )
    ]
    nodes = [(f"dataset:{ns}:{n}", "DATASET", _dataset(ns, n)) for ns, n in sorted(datasets)]
    nodes += [(_node(state.jobs[one]), "JOB", _graph_job(state, state.jobs[one])) for one in sorted(jobs)]
    return {
        "graph": [
            {
                "id": name,
                "type": kind,
                "data": data,
                "inEdges": [edge for edge in edges if edge["destination"] == name],
                "outEdges": [edge for edge in edges if edge["origin"] == name],
            }
            for name, kind, data in nodes
        ]
    }


def _graph_job(state: State, job: Job) -> View:
    current = state.runs.get(job.current_run or "")
    return {**_job(job), "currentRunUuid": job.current_run, "latestRun": run_view(current) if current else None}


def _job(job: Job) -> View:
    return {
        "id": {"namespace": job.namespace, "name": job.name},
        "type": "BATCH",
        "name": job.name,
        "simpleName": job.simple,
        "parentJobName": job.parent,
        "parentJobUuid": "…" if job.parent else None,
        "createdAt": format_time(job.created),
        "updatedAt": format_time(job.updated),
        "namespace": job.namespace,
        "inputs": [{"namespace": namespace, "name": name} for namespace, name in job.inputs],
        "outputs": [{"namespace": namespace, "name": name} for namespace, name in job.outputs],
        "location": job.location,
        "description": None,
    }


def _dataset(namespace: str, name: str) -> View:
    return {
        "id": {"namespace": namespace, "name": name},
        "type": "DB_TABLE",
        "name": name,
        "physicalName": name,
        "namespace": namespace,
        "sourceName": "default",
        "fields": [],
        "tags": [],
        "lastModifiedAt": None,
        "description": None,
    }


def _dataset_versions(side: dict[Key, Facets]) -> list[View]:
    return [
        {"datasetVersionId": {"namespace": namespace, "name": name, "version": "…"}, "facets": merged(facets)}
        for (namespace, name), facets in side.items()
    ]


def _datasets(job: Job) -> tuple[Key, ...]:
    return (*job.inputs, *job.outputs)


def _node(job: Job) -> str:
    return f"job:{job.namespace}:{job.name}"

"""Questions to the ledger, as requests put them: parameters checked, calls made in a worker thread."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from spanline.errors import UnknownReference
from spanline.server.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")

ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
OUTCOMES = {"COMPLETE": "complete", "FAIL": "failed", "ABORT": "aborted", "RUNNING": "running"}
ARTIFACT_KINDS = ("model", "prompt", "index")
RUN_FILTERS = frozenset(
    {"job", "outcome", "artifact", "tag", "conflict", "since", "until", "tenant", "subject", "session", *ARTIFACT_KINDS}
)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_MAX_VALUE = 512
_SYNONYMS = {"OK": "COMPLETE", "ERROR": "FAIL", "FAILED": "FAIL", "ABORTED": "ABORT", "COMPLETED": "COMPLETE", "START": "RUNNING"}


async def ask(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the ledger in a worker thread.

    Raises:
        Problem: 400 when the ledger finds an argument wrong, e.g. a cursor that it did not give; 404 when it does not know what is meant.
    """
    try:
        return await run_in_threadpool(question, *args, **kwargs)
    except UnknownReference as error:
        raise Problem(404, "Not known here", str(error)) from error
    except ValueError as error:
        raise Problem(400, "A parameter is wrong", str(error)) from error


def id_of(request: Request) -> str:
    """The id in the path.

    Raises:
        Problem: 400 when it cannot be one.
    """
    found = str(request.path_params["id"])
    if not ID.match(found):
        raise Problem(
            400,
            "That is not an id",
            "An id is a trace id (32 hex), a run id, a request id or a response id: letters, digits and . _ : - only, 128 at most.",
        )
    return found


def unknown_run(id: str) -> Problem:
    """404, and what to try."""
    tries = (
        "Wait two seconds and load again: a run is here shortly after its response.",
        "Compare the id with the x-trace-id header of the response; 32 hex characters, nothing cut off.",
        "Look in the list of runs: only requests that use a model, a retrieval or a named artifact are recorded (SPANLINE_RECORD=all records every one).",
        "Ask the ledger of the service that answered: each host has its own unless SPANLINE_LEDGER_URL or SPANLINE_SERVER_URL names a common one.",
        "Old runs are removed (SPANLINE_LEDGER_MAX_AGE, seven days if not set).",
        "Run `spanline doctor` where the service runs: it says whether runs are recorded and delivered.",
    )
    return Problem(404, "No such run", f"No run, request or response with the id {id} is in this ledger.", tries=tries)


def parameters(request: Request, allowed: Iterable[str]) -> dict[str, str]:
    """The query parameters that are set.

    Raises:
        Problem: 400 for an unknown parameter (with the nearest name), one that is given twice, or too long.
    """
    allowed = sorted({*allowed, "limit", "after", "format"})
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(allowed)}."
            raise Problem(400, f"Unknown parameter {name[:64]}", hint)
        if name in found or len(value) > _MAX_VALUE or "\x00" in value:
            raise Problem(400, f"Parameter {name} is wrong", f"Give it once, with at most {_MAX_VALUE} characters.")
        if value.strip():
            found[name] = value.strip()
    return found


def paging(given: Mapping[str, str]) -> dict[str, Any]:
    """`limit` and `after`.

    Raises:
        Problem: 400 when the limit is no number between 1 and 500.
    """
    text = given.get("limit", str(DEFAULT_LIMIT))
    if not re.match(r"[0-9]{1,6}\Z", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise Problem(400, "Parameter limit is wrong", f"A whole number from 1 to {MAX_LIMIT}.")
    return {"limit": int(text), "after": given.get("after")}


def required(given: Mapping[str, str], name: str, example: str) -> str:
    """A parameter that must be there.

    Raises:
        Problem: 400 when it is not.
    """
    if name not in given:
        raise Problem(400, f"Parameter {name} is missing", f"For example ?{name}={example}")
    return given[name]


def depth_of(given: Mapping[str, str]) -> dict[str, int]:
    """`depth`, where it is given.

    Raises:
        Problem: 400 when it is no number.
    """
    text = given.get("depth")
    if text is None:
        return {}
    if not re.match(r"[0-9]{1,6}\Z", text):
        raise Problem(400, "Parameter depth is wrong", "A whole number: how many runs away.")
    return {"depth": int(text)}


def run_filter(given: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of `runs` from query parameters.

    `model`, `prompt` and `index` take `name` or `name@version`; `artifact` takes any reference.

    Raises:
        Problem: 400 for an unknown outcome, or a `conflict` that is neither true nor false.
    """
    found: dict[str, Any] = {
        name: given[name] for name in ("job", "since", "until", "tag", "tenant", "subject", "session") if name in given
    }
    if outcome := given.get("outcome", "").upper():
        outcome = _SYNONYMS.get(outcome, outcome)
        if outcome not in OUTCOMES:
            raise Problem(400, "Parameter outcome is wrong", f"One of {', '.join(OUTCOMES)}.")
        found["outcome"] = outcome
    if conflict := given.get("conflict", "").lower():
        if conflict not in {"true", "false", "1", "0"}:
            raise Problem(400, "Parameter conflict is wrong", "true or false.")
        found["conflict"] = conflict in {"true", "1"}
    references = [given["artifact"]] if "artifact" in given else []
    references += [reference(kind, given[kind]) for kind in ARTIFACT_KINDS if kind in given]
    if len(references) > 1:
        raise Problem(400, "One artifact at a time", "Filter by one of artifact, model, prompt and index.")
    if references:
        found["artifact"] = references[0]
    return found


def reference(kind: str, text: str) -> str:
    """`kind:name@version` of what somebody typed in a field for that kind."""
    return text if text.startswith(f"{kind}:") else f"{kind}:{text}"

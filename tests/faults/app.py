"""The app of the fault matrix: a small service that answers a question with one inference; settings come from the environment."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import spanline

clock = {"shift": int(os.environ.get("FAULT_CLOCK") or 0)}
if "FAULT_CLOCK" in os.environ:
    # Before anything is recorded: this process believes in another time, and `/clock` sets it.
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + clock["shift"]
    time.time_ns = lambda: _time_ns() + clock["shift"] * 10**9

FEES = spanline.PromptTemplate("fees", version="v7", text="Answer: {question}")


def answer() -> None:
    """One inference by hand."""
    with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
        call.response(model="gpt-4o-2024-06-18", id=f"chatcmpl-{os.urandom(8).hex()}", input_tokens=10, output_tokens=3)


async def ask(request: Request) -> PlainTextResponse:
    """Answer; `?sleep=` seconds late, `?cpu=` seconds of a busy thread."""
    sleep = float(request.query_params.get("sleep", 0))
    cpu = float(request.query_params.get("cpu", 0))
    answer()
    if sleep:
        await asyncio.sleep(sleep)
    end = time.perf_counter() + cpu
    while time.perf_counter() < end:
        pass
    return PlainTextResponse(str(os.getpid()))


async def pid(request: Request) -> PlainTextResponse:
    """Which process this is; no run, since there is no lineage in it."""
    return PlainTextResponse(str(os.getpid()))


async def set_clock(request: Request) -> PlainTextResponse:
    """From now on the time is `?shift=` seconds off."""
    clock["shift"] = int(request.query_params["shift"])
    return PlainTextResponse(str(clock["shift"]))


app = Starlette(routes=[Route("/ask", ask), Route("/pid", pid), Route("/clock", set_clock)])
runtime: Any = spanline.instrument(app)

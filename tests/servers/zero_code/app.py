"""A web service that asks a language model, and knows nothing of lineage."""

from __future__ import annotations

import os

from fastapi import FastAPI
from openai import OpenAI

app = FastAPI()
client = OpenAI(base_url=os.environ.get("MODEL_URL", "http://127.0.0.1:9/v1"), api_key="none", max_retries=0)


@app.post("/ask/{topic}")
def ask(topic: str) -> dict[str, object]:
    reply = client.chat.completions.create(
        model="smollm2-135m-instruct",
        messages=[{"role": "user", "content": f"SECRET-QUESTION of {topic}: say hello"}],
        temperature=0.0,
        max_tokens=8,
        seed=7,
    )
    assert reply.usage is not None
    return {"id": reply.id, "input": reply.usage.prompt_tokens, "output": reply.usage.completion_tokens}


@app.get("/boom")
def boom() -> None:
    raise RuntimeError("SECRET-ERROR")


@app.get("/metrics")
def own_metrics() -> dict[str, str]:
    return {"whose": "the app's own"}

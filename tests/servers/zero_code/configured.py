"""The same service, whose author configured spanline in code."""

from __future__ import annotations

from fastapi import FastAPI

import spanline

app = FastAPI()
spanline.instrument(app, service="by-hand")


@app.get("/tool")
def tool() -> dict[str, str]:
    with spanline.tool("search"):
        return {"trace": spanline.current().trace_id}

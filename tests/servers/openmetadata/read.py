"""Reads one request a line with OpenMetadata's own models, and says what they make of it: one JSON object a line.

    python read.py FOLDER < lines        each line: {"as": "event" | "batch" | "message", "body": …}

`event` and `batch` are what its HTTP endpoint parses; `message` is what it reads from Kafka. FOLDER holds the package `metadata`.
"""

from __future__ import annotations

import json
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic


def packages(folder: Path) -> None:
    """The parts that are there, as packages; without their `__init__`, which wants SQLAlchemy and dozens more."""
    for name in ("metadata", "metadata.ingestion", "metadata.ingestion.source", "metadata.ingestion.source.pipeline"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    openlineage = types.ModuleType("metadata.ingestion.source.pipeline.openlineage")
    openlineage.__path__ = [str(folder / "metadata" / "ingestion" / "source" / "pipeline" / "openlineage")]
    sys.modules[openlineage.__name__] = openlineage
    sys.modules["metadata.ingestion.models"] = types.ModuleType("metadata.ingestion.models")
    base = types.ModuleType("metadata.ingestion.models.custom_pydantic")
    base.BaseModel = pydantic.BaseModel
    sys.modules[base.__name__] = base


def read(kind: str, body: Any, models: dict[str, Any]) -> dict[str, Any]:
    if kind == "message":
        try:
            models["message"](body)
        except (ValueError, KeyError, TypeError) as error:
            return {"refused": f"{type(error).__name__}: {error}"}
        return {}
    try:
        made = models[kind].model_validate_json(json.dumps(body))
    except pydantic.ValidationError as error:
        return {"refused": "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())}
    return {"kept": json.loads(made.model_dump_json(by_alias=True, exclude_none=True))}


def main() -> None:
    packages(Path(sys.argv[1]))
    requests = "metadata.generated.schema.api.lineage.openlineage."
    models = {
        "event": import_module(f"{requests}openLineageRunEvent").OpenLineageRunEvent,
        "batch": import_module(f"{requests}openLineageBatchRequest").OpenLineageBatchRequest,
        "message": import_module("metadata.ingestion.source.pipeline.openlineage.utils").message_to_open_lineage_event,
    }
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(read(asked["as"], asked["body"], models)))


if __name__ == "__main__":
    main()

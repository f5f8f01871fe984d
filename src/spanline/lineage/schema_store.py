"""Schemas: the JSON schemas of our facets, as files of the package."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, cast

_FILE = re.compile(r"(spanline_[a-z]+)\.(\d+-\d+-\d+)\.json\Z")


@cache
def names() -> tuple[tuple[str, str], ...]:
    """All `(facet, version)` in the package, e.g. `("spanline_trace", "1-0-0")`, sorted."""
    found = (_FILE.match(entry.name) for entry in files("spanline.lineage").joinpath("schemas").iterdir())
    return tuple(sorted((match[1], match[2]) for match in found if match))


def schema(facet: str, version: str) -> dict[str, Any]:
    """The JSON schema of a facet, as `GET /schemas/{facet}/{version}` serves it; treat it as read-only.

    Raises:
        KeyError: There is none of that name and version.
    """
    if (facet, version) not in names():
        raise KeyError(f"no schema {facet} {version}")
    return _load(facet, version)


@cache
def _load(facet: str, version: str) -> dict[str, Any]:
    text = files("spanline.lineage").joinpath("schemas", f"{facet}.{version}.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))

"""Validation: events against the official OpenLineage schemas and ours, offline. Needs `jsonschema` (development only)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from spanline.lineage import schema_store
from spanline.lineage.facets import CLASSES
from spanline.naming import MAX_NAME, clean, clean_namespace

CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json"

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_OUR_URL = re.compile(r".*/(spanline_[a-z]+)/(\d+-\d+-\d+)#/\$defs/(\w+)\Z")

formats = FormatChecker(formats=())


@formats.checks("uuid")
def _is_uuid(value: object) -> bool:
    # Dashed only: Marquez turns 32 hex silently into another id.
    return not isinstance(value, str) or _UUID.match(value) is not None


@formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or _DATE_TIME.match(value) is not None


@formats.checks("uri")
def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and value.isprintable() and " " not in value


def official_schemas() -> Path | None:
    """Folder of the official schemas: `$SPANLINE_SHARED`, else `shared` beside the repository; None where it is missing."""
    shared = os.environ.get("SPANLINE_SHARED")
    base = Path(shared) if shared else Path(__file__).resolve().parents[3].parent / "shared"
    folder = base / "openlineage-spec" / "spec"
    return folder if (folder / "OpenLineage.json").is_file() else None


def official_schemas_missing() -> str | None:
    """The word to skip with where the official schemas are missing; None where they are there."""
    if official_schemas() is not None:
        return None
    return "the official OpenLineage schemas are missing: set SPANLINE_SHARED to the folder that holds openlineage-spec/spec"


def validate_event(event: bytes | str | Mapping[str, Any], *, ours: bool = True) -> None:
    """Check one event against the official schemas, our facet schemas, and what every event of ours must keep.

    Where the official schemas are missing only our own part is checked.

    Args:
        event: The event, encoded or decoded.
        ours: False for events that others made: only schemas are checked, not the rules of our own events.

    Raises:
        AssertionError: With the path of what is wrong.
    """
    if isinstance(event, bytes | str):
        event = cast(dict[str, Any], json.loads(event, parse_constant=_refuse_constant))
    folder = official_schemas()
    kind = "RunEvent" if "run" in event else "DatasetEvent" if "dataset" in event else "JobEvent"
    if folder is not None:
        _check(_official(folder, f"{CORE}#/$defs/{kind}"), event, kind)
    for path, key, entity, facet in _facets(event):
        if key.startswith("spanline_"):
            _check_ours(path, key, facet)
        elif folder is not None and (reference := _reference(folder, key, entity)):
            _check(_official(folder, reference), facet, path)
            if ours:
                assert facet["_schemaURL"] == reference, f"{path}._schemaURL: {facet['_schemaURL']!r}, expected {reference!r}"
    if ours:
        _check_house(event)


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _check(validator: Draft202012Validator, instance: Any, path: str) -> None:
    # The types of jsonschema know neither what iter_errors yields nor what best_match takes.
    errors = cast("list[ValidationError]", list(validator.iter_errors(instance)))  # pyright: ignore[reportUnknownMemberType]
    if errors:
        error = cast("ValidationError", best_match(errors))
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        raise AssertionError(f"{path}{where}: {error.message}")


def _check_ours(path: str, key: str, facet: Mapping[str, Any]) -> None:
    url = str(facet.get("_schemaURL"))
    match = _OUR_URL.match(url)
    assert match is not None, f"{path}._schemaURL: {url!r} is no schema URL of ours"
    assert (match[1], match[3]) == (key, CLASSES.get(key)), f"{path}._schemaURL: {url!r} is not of {key}"
    assert (key, match[2]) in schema_store.names(), f"{path}: no schema {key} {match[2]} in the package"
    _check(_own(key, match[2]), {key: facet}, path.rpartition(".")[0])


def _check_house(event: Mapping[str, Any]) -> None:
    """Rules of our own events that no schema can say."""
    _check_values(event, "event")
    assert event["schemaURL"] == f"{CORE}#/$defs/RunEvent", f"schemaURL: {event['schemaURL']!r}"
    job = event["job"]
    _check_name("job", job)
    for role in ("inputs", "outputs"):
        assert isinstance(event.get(role), list), f"{role}: missing; also an empty list is sent"
        seen: set[tuple[str, str]] = set()
        for index, dataset in enumerate(event[role]):
            _check_name(f"{role}[{index}]", dataset)
            key = (dataset["namespace"], dataset["name"])
            assert key not in seen, f"{role}[{index}]: {key} is there twice"
            seen.add(key)
    location = _members(job, "facets").get("sourceCodeLocation")
    assert location is None or len(location["url"]) <= MAX_NAME, "job.facets.sourceCodeLocation.url: more than 255 characters"
    run_facets = set(_members(event["run"], "facets"))
    if event["eventType"] == "START":
        assert run_facets <= {"parent"}, f"run.facets: a START bears parent only, not {sorted(run_facets)}"
    elif event["eventType"] != "OTHER":  # what is added to a run that goes on, or to one of somebody else
        assert "spanline_trace" in run_facets, "run.facets.spanline_trace: missing on a terminal event"


def _check_name(path: str, named: Mapping[str, Any]) -> None:
    namespace, name = named["namespace"], named["name"]
    assert namespace == clean_namespace(namespace), f"{path}.namespace: {namespace!r} is outside the grammar"
    assert 0 < len(name) <= MAX_NAME, f"{path}.name: empty or more than {MAX_NAME} characters"


def _check_values(value: object, path: str) -> None:
    if value is None:
        raise AssertionError(f"{path}: null; what is unknown is absent")
    if isinstance(value, str):
        assert value == clean(value, len(value)), f"{path}: control characters or lone surrogates"
    elif isinstance(value, dict):
        for key, item in cast(dict[str, Any], value).items():
            _check_values(key, f"{path} (key)")
            _check_values(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(cast(list[Any], value)):
            _check_values(item, f"{path}[{index}]")


def _facets(event: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """All facets as `(path, key, entity, facet)`; the entity is Run, Job, Dataset, InputDataset or OutputDataset."""
    holders: list[tuple[str, str, Mapping[str, Any], str]] = []
    if "run" in event:
        holders.append(("run", "Run", event["run"], "facets"))
    if "job" in event:
        holders.append(("job", "Job", event["job"], "facets"))
    if "dataset" in event:
        holders.append(("dataset", "Dataset", event["dataset"], "facets"))
    for role, entity, member in (("inputs", "InputDataset", "inputFacets"), ("outputs", "OutputDataset", "outputFacets")):
        for index, dataset in enumerate(event.get(role) or ()):
            holders.append((f"{role}[{index}]", "Dataset", dataset, "facets"))
            holders.append((f"{role}[{index}]", entity, dataset, member))
    for path, entity, holder, member in holders:
        for key, facet in _members(holder, member).items():
            yield f"{path}.{member}.{key}", key, entity, facet


def _members(holder: Mapping[str, Any], member: str) -> dict[str, Any]:
    return cast(dict[str, Any], holder.get(member) or {})


def _reference(folder: Path, key: str, entity: str) -> str | None:
    standard = _standard(folder)
    # Some input facets are defined under the name of a dataset facet (dataQualityAssertions).
    return standard.get((key, entity)) or (standard.get((key, "Dataset")) if entity.endswith("Dataset") else None)


@cache
def _registry(folder: Path) -> Registry[Any]:
    documents = [
        json.loads(path.read_text(encoding="utf-8")) for path in (folder / "OpenLineage.json", *sorted(folder.glob("facets/*.json")))
    ]
    resources = [(document["$id"], Resource.from_contents(document, default_specification=DRAFT202012)) for document in documents]
    return Registry[Any]().with_resources(resources)


@cache
def _standard(folder: Path) -> dict[tuple[str, str], str]:
    """Standard facet `(key, entity)` to the URL of its definition."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob("facets/*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for key, entry in document.get("properties", {}).items():
            for option in entry.get("anyOf", [entry]):
                reference = option["$ref"]
                definition = reference.rpartition("/")[2]
                suffixes = ("InputDataset", "OutputDataset", "Dataset", "Job", "Run")
                entity = next((suffix for suffix in suffixes if definition.endswith(f"{suffix}Facet")), None)
                if entity is not None:
                    found[key, entity] = f"{document['$id']}{reference}"
    return found


@cache
def _official(folder: Path, reference: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": reference}, registry=_registry(folder), format_checker=formats)


@cache
def _own(facet: str, version: str) -> Draft202012Validator:
    return Draft202012Validator(schema_store.schema(facet, version), format_checker=formats)

"""Presets: what each known consumer of OpenLineage needs, as a table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from spanline.errors import ConfigurationError

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How events are shaped for one consumer.

    Args:
        names: `stable` takes the version out of dataset names, for catalogues that honour the version facet.
        run_ids: `v7` for consumers that refuse anything but UUIDv7.
        parents: Whether the `parent` facet is sent; `root`: it names the trace's root run, never a run between.
        start_events: `all`; `complete_io`: one that a long run wrote before its inputs and outputs were known is sent with its
            end; `none`.
        job_facets: `always`: with every terminal event; `once`: with the first one of each (job, inputs, outputs, location),
            the location with all; `keep`: as journalled.
        dataset_facets: `once`: those of an input once a process and content, those of outputs with terminal events only.
        evaluations: `enrich`: an evaluation of a run that is over comes as a further terminal event of it; `run`: as a run of
            `<service>.evaluate`, and further terminal events only while their run is as the newest, to add datasets.
        incomplete: `skip`: not a run whose datasets are a strict subset of its job's last COMPLETE.
        processing_type: `keep`, or what `jobType.processingType` is set to.
        batch: Many events in one POST to `<endpoint>/batch`: `array` as JSON array, `events` as `{"events": […]}`; `none`: one each.
        gzip: Compress bodies.
        max_event_bytes: Larger events lose their largest facets first. Unit: bytes.
        sample: Share of traces that are sent, 0 … 1.
        rate_per_second: Traces a second, over which whole traces are thinned. Unit: 1/s.
        external_id: Name of a facet that bears our run id where `run_ids` hides it.
    """

    names: str = "versioned"
    run_ids: str = "trace"
    parents: str = "keep"
    start_events: str = "all"
    job_facets: str = "always"
    dataset_facets: str = "always"
    evaluations: str = "enrich"
    incomplete: str = "send"
    processing_type: str = "keep"
    batch: str = "none"
    gzip: bool = False
    max_event_bytes: int | None = None
    sample: float = 1.0
    rate_per_second: float | None = None
    external_id: str | None = None

    @property
    def as_journalled(self) -> bool:
        """Whether events are sent as they stand in the journal."""
        return replace(self, batch="none", gzip=False, sample=1.0, rate_per_second=None) == _AS_JOURNALLED


_AS_JOURNALLED = Preset(start_events="none", job_facets="keep")

CHOICES: dict[str, tuple[str, ...]] = {
    "names": ("versioned", "stable"),
    "run_ids": ("trace", "v7"),
    "parents": ("keep", "drop", "root"),
    "start_events": ("all", "complete_io", "none"),
    "job_facets": ("always", "once", "keep"),
    "dataset_facets": ("always", "once"),
    "evaluations": ("enrich", "run"),
    "incomplete": ("send", "skip"),
    "processing_type": ("keep", "SERVICE", "BATCH", "STREAMING", "NONE"),
    "batch": ("none", "array", "events"),
}

PRESETS: dict[str, Preset] = {
    "openlineage": Preset(),
    # Our own server takes everything as it was journalled.
    "spanline": Preset(start_events="none", job_facets="keep", batch="array"),
    # 208 transactions a request, jobs renamed by `parent`, facets lost at the next COMPLETE, ~16 requests a second.
    "marquez": Preset(
        parents="drop", start_events="complete_io", job_facets="once", dataset_facets="once", evaluations="run",
        incomplete="skip", max_event_bytes=100_000, rate_per_second=10.0,
    ),
    # The last event's facets replace all earlier ones; refuses gzip; its 204 to a batch breaks kept-alive connections.
    "feast": Preset(),
    # Takes UUIDv7 and BATCH, STREAMING, NONE only, also of a parent, which `run_ids="v7"` therefore leaves out.
    "data-rentgen": Preset(run_ids="v7", processing_type="BATCH", external_id="dataRentgen_run"),
}  # fmt: skip


def preset_of(options: Mapping[str, Any], detected: str | None = None) -> Preset:
    """The preset that options name, with what they change.

    Args:
        options: `preset` and any field of `Preset`.
        detected: What stands for `auto`.

    Raises:
        ConfigurationError: An unknown preset or option, or a wrong value; the message lists what is known.
    """
    name = options.get("preset", AUTO)
    if name == AUTO:
        name = detected or "openlineage"
    base = PRESETS.get(str(name))
    if base is None:
        raise ConfigurationError(f"unknown preset {name!r}; known presets: {AUTO}, {', '.join(sorted(PRESETS))}")
    changes = {key: _checked(key, value) for key, value in options.items() if key != "preset"}
    return replace(base, **changes)


def is_auto(options: Mapping[str, Any]) -> bool:
    """Whether the other end has to be asked what it is."""
    return options.get("preset", AUTO) == AUTO


def _checked(key: str, value: Any) -> Any:
    known = [field.name for field in fields(Preset)]
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known options: {', '.join(known)}"
        raise ConfigurationError(f"unknown transport option spanline.{key}; {hint}")
    if key in CHOICES:
        # YAML reads `none` as text, but an empty value as null: both mean the same here.
        value = "none" if value is None and "none" in CHOICES[key] else value
        if value not in CHOICES[key]:
            raise ConfigurationError(f"transport option spanline.{key}={value!r}: expected one of {', '.join(CHOICES[key])}")
    elif key == "gzip" and not isinstance(value, bool):
        raise ConfigurationError(f"transport option spanline.gzip={value!r}: expected true or false")
    elif key == "sample" and not (_is_number(value) and 0 <= value <= 1):
        raise ConfigurationError(f"transport option spanline.sample={value!r}: expected a number from 0 to 1")
    elif key in {"rate_per_second", "max_event_bytes"} and value is not None and not (_is_number(value) and value > 0):
        raise ConfigurationError(f"transport option spanline.{key}={value!r}: expected a positive number")
    elif key == "external_id" and value is not None and not isinstance(value, str):
        raise ConfigurationError(f"transport option spanline.external_id={value!r}: expected a facet name")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Settings: every setting once, with its keyword, environment variable, default and meaning.

A keyword beats `SPANLINE_*` beats `OTEL_*` and `OPENLINEAGE_*` beats the default. A wrong keyword raises; a wrong
environment value is reported (`Settings.warnings`, logged by the runtime, shown by `doctor`) and the default is taken.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from spanline.errors import ConfigurationError
from spanline.patterns import listed

FEATURES = frozenset({"traces", "metrics", "lineage"})


_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}


def _flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"", "0", "false", "no", "off"}:
        return False
    raise ValueError("one of true, false")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _features(text: str) -> frozenset[str]:
    chosen = frozenset(_names(text))
    if not chosen <= FEATURES:
        raise ValueError(f"a list of {', '.join(sorted(FEATURES))}")
    return chosen


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return parse


def _url(text: str) -> str:
    if not re.match(r"https?://[^\s/]+", text):
        raise ValueError("an http:// or https:// URL")
    return text.rstrip("/")


def _consumer(text: str) -> str:
    """Where OpenLineage goes: HTTP, or a topic of a Kafka that wants neither password nor certificate."""
    if text.startswith("kafka:"):
        if not re.fullmatch(r"kafka://[^\s/@]+/[A-Za-z0-9._-]+/?", text):
            raise ValueError("kafka://host:port[,host:port]/topic")
        return text.rstrip("/")
    return _url(text)


def _setting(default: Any, env: str = "", *others: str, parse: Callable[[str], Any] = str, doc: str = "", unit: str = "") -> Any:
    return field(default=default, metadata={"env": (env, *others) if env else (), "parse": parse, "doc": doc, "unit": unit})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, resolved. Field names are the keywords of `configure()` and `instrument()`."""

    service: str = _setting(
        "unknown_service", "SPANLINE_SERVICE", "OTEL_SERVICE_NAME", doc="Name of the service; first part of every job name"
    )
    namespace: str = _setting("default", "SPANLINE_NAMESPACE", "OPENLINEAGE_NAMESPACE", doc="Job namespace, one an environment")
    environment: str | None = _setting(None, "SPANLINE_ENVIRONMENT", doc="Deployment environment, e.g. `production`")
    features: frozenset[str] = _setting(FEATURES, "SPANLINE_FEATURES", parse=_features, doc="What is on: traces, metrics, lineage")
    disabled: bool = _setting(False, "SPANLINE_DISABLED", parse=_flag, doc="Nothing is written, sent or measured; the app passes through")
    strict: bool = _setting(False, "SPANLINE_STRICT", parse=_flag, doc="Raise internal errors (tests)")
    record: str = _setting("lineage", "SPANLINE_RECORD", parse=_one_of("lineage", "all"), doc="Record requests with lineage only, or all")
    sampling: str = _setting(
        "full", "SPANLINE_SAMPLING", parse=_one_of("full", "follow"), doc="Lineage of every trace, or of sampled ones only"
    )
    trust_remote: str = _setting(
        "always", "SPANLINE_TRUST_REMOTE", parse=_one_of("always", "never"), doc="Continue a caller's trace, or start a new one and link it"
    )
    server_span: str = _setting(
        "replace", "SPANLINE_SERVER_SPAN", parse=_one_of("replace", "adopt"), doc="Replace FastAPI's native server span, or adopt it"
    )
    relay: str = _setting("thread", "SPANLINE_RELAY", parse=_one_of("thread", "process", "off"), doc="Where delivery runs")
    otlp: str = _setting(
        "stock", "SPANLINE_OTLP", parse=_one_of("stock", "fast"), doc="Encoding of spans for OTLP over HTTP: OpenTelemetry's, or ours"
    )
    scrub: bool = _setting(False, "SPANLINE_SCRUB", parse=_flag, doc="Spans go on to the trace exporter without content")
    allow: tuple[str, ...] = _setting(
        (),
        "SPANLINE_ALLOW",
        parse=_names,
        doc="Span attributes that may leave though they are content: on scrubbed spans, and a guardrail's reason in lineage; a trailing * is a prefix",
    )
    provenance: str = _setting("off", "SPANLINE_PROVENANCE", parse=_one_of("off", "header"), doc="`header` adds `x-lineage` to responses")
    mount: tuple[str, ...] = _setting(("/metrics", "/r", "/runs"), "SPANLINE_MOUNT", parse=_names, doc="Routes mounted in the app")
    excluded: tuple[str, ...] = _setting((), "SPANLINE_EXCLUDED", parse=_names, doc="Paths without span and run; a trailing * is a prefix")
    tokens: tuple[str, ...] = _setting((), "SPANLINE_TOKENS", parse=_names, doc="Bearer tokens for the pages and the API")
    hash_key: str | None = _setting(None, "SPANLINE_HASH_KEY", doc="Key of keyed digests; must be the same on all hosts of one ledger")
    request_id_header: str = _setting("x-request-id", "SPANLINE_REQUEST_ID_HEADER", doc="Header with the request id")
    tenant_header: str | None = _setting(None, "SPANLINE_TENANT_HEADER", doc="Header with the tenant; kept as a keyed digest")
    subject_header: str | None = _setting(None, "SPANLINE_SUBJECT_HEADER", doc="Header with the subject (user); kept as a keyed digest")
    session_header: str | None = _setting(None, "SPANLINE_SESSION_HEADER", doc="Header with the session; kept as a keyed digest")
    home: Path | None = _setting(None, "SPANLINE_HOME", parse=Path, doc="Folder of journal and ledger for this process")
    state: Path | None = _setting(None, "SPANLINE_STATE", parse=Path, doc="Base folder of all journals and the ledger")
    ledger_url: str | None = _setting(None, "SPANLINE_LEDGER_URL", doc="sqlite:///… or postgresql://…")
    ledger: bool = _setting(True, "SPANLINE_LEDGER", parse=_flag, doc="Keep a ledger (needs the server extra)")
    server_url: str | None = _setting(None, "SPANLINE_SERVER_URL", parse=_url, doc="A central `spanline serve` that gets everything")
    base_url: str | None = _setting(None, "SPANLINE_BASE_URL", parse=_url, doc="Where run pages are reached")
    jaeger_url: str | None = _setting(None, "SPANLINE_JAEGER_URL", parse=_url, doc="Jaeger UI, for links")
    grafana_url: str | None = _setting(None, "SPANLINE_GRAFANA_URL", parse=_url, doc="Grafana, for links")
    prometheus_url: str | None = _setting(None, "SPANLINE_PROMETHEUS_URL", parse=_url, doc="Prometheus, which `spanline doctor` looks at")
    tempo_datasource: str | None = _setting(None, "SPANLINE_TEMPO_DATASOURCE", doc="Uid of the Tempo data source, for Grafana links")
    marquez_url: str | None = _setting(None, "SPANLINE_MARQUEZ_URL", parse=_url, doc="Marquez web UI, for links")
    mlflow_url: str | None = _setting(None, "SPANLINE_MLFLOW_URL", parse=_url, doc="MLflow UI, for links")
    repository_url: str | None = _setting(None, "SPANLINE_REPOSITORY_URL", parse=_url, doc="Repository, for links to a commit")
    schema_base: str = _setting(
        "https://spanline.dev/schemas", "SPANLINE_SCHEMA_BASE", parse=_url, doc="Base of `_schemaURL` of our facets"
    )
    openlineage_url: str | None = _setting(
        None, "OPENLINEAGE_URL", parse=_consumer, doc="An OpenLineage consumer, e.g. Marquez, or kafka://host:port/topic"
    )
    openlineage_endpoint: str = _setting("api/v1/lineage", "OPENLINEAGE_ENDPOINT", doc="Path at that consumer")
    openlineage_api_key: str | None = _setting(None, "OPENLINEAGE_API_KEY", doc="Bearer token for it")
    openlineage_config: Path | None = _setting(None, "OPENLINEAGE_CONFIG", parse=Path, doc="openlineage.yml")
    openlineage_disabled: bool = _setting(
        False, "OPENLINEAGE_DISABLED", parse=_flag, doc="Send nothing to OpenLineage consumers; journal and ledger go on"
    )
    openlineage_preset: str = _setting(
        "auto", "SPANLINE_OPENLINEAGE_PRESET", doc="Dialect of OPENLINEAGE_URL: openlineage, marquez, feast, data-rentgen, auto"
    )
    journal_max_bytes: int = _setting(512 << 20, "SPANLINE_JOURNAL_MAX_BYTES", parse=int, unit="bytes", doc="Most disk a journal takes")
    segment_max_bytes: int = _setting(
        16 << 20, "SPANLINE_SEGMENT_MAX_BYTES", parse=int, unit="bytes", doc="A segment is closed at this size"
    )
    segment_max_age_s: float = _setting(600.0, "SPANLINE_SEGMENT_MAX_AGE", parse=float, unit="seconds", doc="… and at this age")
    min_free_ratio: float = _setting(
        0.05, "SPANLINE_MIN_FREE_RATIO", parse=float, unit="share of the disk", doc="Below it nothing is written"
    )
    ledger_max_bytes: int = _setting(2 << 30, "SPANLINE_LEDGER_MAX_BYTES", parse=int, unit="bytes", doc="Most disk the SQLite ledger takes")
    ledger_max_age_s: float = _setting(
        7 * 86400.0, "SPANLINE_LEDGER_MAX_AGE", parse=float, unit="seconds", doc="Request runs older than that go"
    )
    max_traces: int = _setting(10_000, "SPANLINE_MAX_TRACES", parse=int, doc="Pending runs in memory")
    max_spans: int = _setting(5_000, "SPANLINE_MAX_SPANS", parse=int, doc="Spans kept of one run; the rest is counted")
    max_pending_bytes: int = _setting(
        256 << 20, "SPANLINE_MAX_PENDING_BYTES", parse=int, unit="bytes", doc="Estimated bytes of pending spans"
    )
    start_after_s: float = _setting(
        60.0, "SPANLINE_START_AFTER", parse=float, unit="seconds", doc="A run open that long gets its START journalled"
    )
    trace_timeout_s: float = _setting(
        3600.0, "SPANLINE_TRACE_TIMEOUT", parse=float, unit="seconds", doc="A run open that long is flushed as what is known"
    )
    straggler_grace_s: float = _setting(
        60.0, "SPANLINE_STRAGGLER_GRACE", parse=float, unit="seconds", doc="How long late spans of a finished run are taken"
    )
    label_cap: int = _setting(200, "SPANLINE_LABEL_CAP", parse=int, doc="Label sets of one metric; the one idle longest goes")
    price_table: Path | None = _setting(
        None, "SPANLINE_PRICE_TABLE", parse=Path, doc="JSON {model: {input, output}} in US dollars per million tokens"
    )

    warnings: tuple[str, ...] = ()

    @classmethod
    def resolve(cls, keywords: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Resolve keywords and environment.

        Raises:
            ConfigurationError: An unknown keyword (with the nearest name), or a keyword of the wrong value.
        """
        given = dict(keywords or {})
        environ = os.environ if environ is None else environ
        known = {f.name: f for f in fields(cls) if f.metadata}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known settings: {', '.join(sorted(known))}"
                raise ConfigurationError(f"unknown setting {name!r}{hint}")
        values: dict[str, Any] = {}
        warnings: list[str] = []
        for name, entry in known.items():
            if name in given:
                values[name] = _from_keyword(name, given[name], entry.metadata["parse"], entry.default)
                continue
            for variable in cast(tuple[str, ...], entry.metadata["env"]):
                text = environ.get(variable, "").strip()
                if not text:
                    continue
                try:
                    values[name] = entry.metadata["parse"](text)
                except ValueError as error:
                    default = ",".join(sorted(FEATURES)) if entry.default is FEATURES else repr(entry.default)
                    instead = "it counts as not set" if entry.default is None else f"using {default}"
                    warnings.append(f"{variable} is {text!r}, expected {_NUMBERS.get(entry.metadata['parse'], error)}; {instead}")
                    continue
                break
        resource = _resource_attributes(environ)
        if "service" not in values and resource.get("service.name"):
            values["service"] = resource["service.name"]
        if "environment" not in values:
            values["environment"] = resource.get("deployment.environment.name") or resource.get("deployment.environment")
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" and "features" not in given:
            values["features"] = values.get("features", FEATURES) - {"traces"}
        names = {variable for f in known.values() for variable in cast(tuple[str, ...], f.metadata["env"])}
        for variable in sorted(environ):
            if variable.startswith("SPANLINE_") and variable not in names and variable not in _OTHER_VARIABLES:
                near = difflib.get_close_matches(variable, names, 1)
                warnings.append(f"unknown setting {variable}" + (f"; did you mean {near[0]}?" if near else ""))
        return cls(**values, warnings=tuple(warnings))

    @property
    def base(self) -> Path:
        """The folder of this process's journal and ledger; not made here."""
        if self.home is not None:
            return self.home
        return self.state if self.state is not None else default_state()

    @property
    def journal_dir(self) -> Path:
        """The journal folder of this service."""
        return self.base / "journal" / slug(self.service)

    def allows(self, key: str) -> bool:
        """Whether this attribute may leave though it is content (`SPANLINE_ALLOW`)."""
        return listed(self.allow)(key)

    @property
    def effective_ledger_url(self) -> str:
        """The ledger's URL, SQLite in the state folder by default."""
        return self.ledger_url or f"sqlite:///{self.base / 'ledger.db'}"


_OTHER_VARIABLES = frozenset({"SPANLINE_SHARED", "SPANLINE_CACHE"})


def slug(name: str) -> str:
    """A service name as a folder name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".") or "unknown_service"


def default_state() -> Path:
    """`$XDG_STATE_HOME/spanline`, `~/.local/state/spanline`, else a temporary folder (XDG base directory specification)."""
    xdg = os.environ.get("XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg) / "spanline"
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home raises where there is none)
    if home.startswith("/") and (home != "/" or os.access(home, os.W_OK)):
        return Path(home) / ".local" / "state" / "spanline"
    return Path(tempfile.gettempdir()) / f"spanline-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _from_keyword(name: str, value: Any, parse: Callable[[str], Any], default: Any) -> Any:
    if value is None:
        return default
    if isinstance(value, str) or (parse in (int, float) and not isinstance(value, bool)):
        try:
            return parse(cast(Any, value))
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"setting {name}={value!r}: expected {_NUMBERS.get(parse, error)}") from error
    if parse is _names and isinstance(value, (tuple, list)):
        return tuple(cast(list[str], value))
    if parse is _features and isinstance(value, (tuple, list, set, frozenset)):
        return _features(",".join(cast(list[str], value)))
    if parse is _flag and isinstance(value, bool):
        return value
    if parse is Path and isinstance(value, Path):
        return value
    raise ConfigurationError(f"setting {name}={value!r}: expected a string, got {type(value).__name__}")


def _resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES` (OpenTelemetry resource SDK: comma-separated key=value, percent-encoded)."""
    found: dict[str, str] = {}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals:
            found[key.strip()] = unquote(value.strip())
    return found

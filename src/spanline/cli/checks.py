"""What `spanline doctor` looks at: each check says in plain words what it found, and what to do."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal, NamedTuple, cast

from spanline.cli.options import journals, sqlite_file
from spanline.errors import ConfigurationError, LedgerError
from spanline.settings import Settings

Level = Literal["ok", "note", "warn", "broken"]

_SECRET = frozenset({"tokens", "hash_key", "openlineage_api_key"})


class Finding(NamedTuple):
    """One thing that was looked at. `broken` is what makes the exit status 1."""

    area: str
    level: Level
    message: str
    hint: str = ""


def check_settings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is set and from where; unknown and wrong settings."""
    for entry in fields(settings):
        names = cast("tuple[str, ...]", entry.metadata.get("env", ()))
        source = next((name for name in names if environ.get(name, "").strip()), None)
        if source is not None:
            yield Finding("settings", "ok", f"{entry.name} = {_value(settings, entry.name)} (from {source})")
    for warning in settings.warnings:
        if "; it counts as not set" in warning:
            # There is nothing that could stand for an address.
            yield Finding("settings", "broken", warning, "mend the value: until then nothing goes or leads there")
        else:
            yield Finding("settings", "warn", warning)
    if settings.service == "unknown_service":
        yield Finding(
            "settings",
            "note",
            "the service has no name here",
            "set SPANLINE_SERVICE or OTEL_SERVICE_NAME, or give service= to instrument()",
        )
    if settings.allow:
        yield Finding(
            "settings",
            "warn",
            f"span attributes that may be content leave: {', '.join(settings.allow)}",
            "take them out of SPANLINE_ALLOW as soon as they are not needed",
        )
    if settings.disabled:
        yield Finding("settings", "warn", "SPANLINE_DISABLED: nothing is written, sent or measured")


def _value(settings: Settings, name: str) -> str:
    from spanline.cli.serve import shown_url

    value = getattr(settings, name)
    if name in _SECRET:
        return "(set)"
    if isinstance(value, str) and "://" in value:
        return shown_url(value)
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(str(part) for part in cast("tuple[object, ...]", value)))
    return str(value)


_PROBE = 65_536


def _try_writing(folder: Path) -> Path:
    """Write into a folder, or into where it would be made; that place.

    Raises:
        OSError: Nothing can be written there.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with tempfile.TemporaryFile(dir=existing, buffering=0) as file:
        # An empty file fits on a full disk; a run does not.
        if file.write(bytes(_PROBE)) < _PROBE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return existing


def check_state(settings: Settings) -> Iterator[Finding]:
    """The state folder: writable, with room."""
    base = settings.base
    try:
        existing = _try_writing(base)
    except OSError as error:
        yield Finding(
            "state", "broken", f"{base} cannot be written: {error.strerror}", "name another folder with SPANLINE_STATE or SPANLINE_HOME"
        )
        return
    word = "is writable" if existing == base else "will be made when it is needed"
    yield Finding("state", "ok", f"{base} {word}")
    if existing.is_relative_to(Path(tempfile.gettempdir())) and settings.home is None and settings.state is None:
        yield Finding("state", "warn", "the state folder is a temporary one: it does not survive a restart", "set SPANLINE_STATE")
    usage = os.statvfs(existing)
    free = usage.f_bavail / usage.f_blocks if usage.f_blocks else 1.0
    if free < settings.min_free_ratio:
        yield Finding(
            "state",
            "broken",
            f"only {free:.1%} of the disk is free: below {settings.min_free_ratio:.0%} nothing is written",
            "free some space",
        )


def check_journals(settings: Settings) -> Iterator[Finding]:
    """Every journal: unchanged, read by its consumers, nothing parked."""
    from spanline.journal import cursors, reader
    from spanline.journal.verify import verify
    from spanline.relay.parked import parked

    found = journals(None, settings)
    if not found:
        yield Finding("journal", "note", "no journal yet: no service has recorded anything in this state folder")
    for folder in found:
        report = verify(folder)
        for problem in report.findings:
            yield Finding("journal", "broken", f"{folder.name}: {problem.message}", "`spanline journal verify` shows all of it")
        if report.ok:
            yield Finding("journal", "ok", f"{folder.name}: {report.segments} segments, unchanged since they were written")
        segments = reader.segments(folder)
        for consumer, offsets in cursors.registered(folder).items():
            unread = sum(max(0, segment.size - offsets.get(segment.name, 0)) for segment in segments)
            level: Level = "warn" if unread > settings.journal_max_bytes // 2 else "note" if unread else "ok"
            hint = "is its relay running? (in the app, `spanline relay` or `spanline serve`)" if unread else ""
            yield Finding(
                "journal",
                level,
                f"{folder.name}: {consumer} has {unread:,} bytes to read" if unread else f"{folder.name}: {consumer} has read all",
                hint,
            )
        items = parked(folder)
        if items:
            reasons = ", ".join(sorted({item.reason for item in items})[:3])
            yield Finding(
                "journal",
                "warn",
                f"{folder.name}: {len(items)} events are parked ({reasons})",
                "`spanline journal parked`, then `spanline journal retry`",
            )


def check_ledger(settings: Settings) -> Iterator[Finding]:
    """The ledger opens."""
    from spanline.cli.serve import shown_url

    url = settings.effective_ledger_url
    if settings.server_url is not None:
        yield Finding("ledger", "ok", f"runs go to {shown_url(settings.server_url)}; no ledger is kept here")
        return
    if not settings.ledger:
        yield Finding("ledger", "note", "switched off by SPANLINE_LEDGER")
        return
    if importlib.util.find_spec("sqlalchemy") is None or importlib.util.find_spec("alembic") is None:
        yield Finding("ledger", "note", "no ledger and no run pages: the server extra is not installed", "pip install 'spanline[server]'")
        return
    file = sqlite_file(url)
    if file is not None and not file.exists():
        try:
            _try_writing(file.parent)
        except OSError as error:
            hint = "name another file with SPANLINE_LEDGER_URL; runs wait in the journal"
            yield Finding("ledger", "broken", f"no ledger can be made at {file}: {error.strerror}", hint)
        else:
            yield Finding("ledger", "note", f"no ledger yet at {file}: it is made when the first run is delivered")
        return
    from spanline.ledger import Ledger

    try:
        Ledger.open(url).close()
    except LedgerError as error:
        hint = (
            f"move {file} away: a new one is made and filled from what the journal still has"
            if file is not None
            else "is it running, and is SPANLINE_LEDGER_URL right? Runs wait in the journal, and nothing is lost."
        )
        yield Finding("ledger", "broken", str(error), hint)
    except ConfigurationError as error:
        yield Finding(
            "ledger", "broken", str(error), "SPANLINE_LEDGER_URL is sqlite:///<file> or postgresql://<user>:<password>@<host>/<database>"
        )
    else:
        yield Finding("ledger", "ok", f"{shown_url(url)} opens")


def check_hash_key(settings: Settings) -> Iterator[Finding]:
    """The key of keyed digests."""
    from spanline.record.digest import KEY_FILE

    path = settings.base / KEY_FILE
    if settings.hash_key:
        yield Finding("hash key", "ok", "from SPANLINE_HASH_KEY")
    elif path.exists():
        try:
            bytes.fromhex(path.read_text("ascii").strip())
        except (OSError, ValueError) as error:
            yield Finding(
                "hash key", "broken", f"{path} cannot be read: {error}", "set SPANLINE_HASH_KEY, or remove the file (digests then change)"
            )
        else:
            yield Finding("hash key", "ok", f"kept in {path}", "set SPANLINE_HASH_KEY where several hosts feed one ledger")
    else:
        yield Finding(
            "hash key", "ok", "made in the state folder when it is needed", "set SPANLINE_HASH_KEY where several hosts feed one ledger"
        )


def check_tracing(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Sampling and ids, as far as the environment tells."""
    sampler = environ.get("OTEL_TRACES_SAMPLER", "")
    if settings.sampling == "full" and sampler and not sampler.endswith("always_on"):
        yield Finding(
            "tracing", "note", f"OTEL_TRACES_SAMPLER={sampler}: traces that it drops have lineage only where spanline builds the tracer provider",
            "an app that builds its own passes sampler=spanline.LineageSampler(inner)",
        )  # fmt: skip
    generator = environ.get("OTEL_PYTHON_ID_GENERATOR", "")
    if generator == "random":
        yield Finding(
            "tracing", "warn", "OTEL_PYTHON_ID_GENERATOR=random: after random.seed() two processes make the same trace ids, and two runs become one",
            "unset it, or give spanline.identity.UrandomIdGenerator() to the tracer provider",
        )  # fmt: skip
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding("tracing", "warn", "OTEL_SDK_DISABLED: no spans, so no operations are recorded")
    workers = environ.get("WEB_CONCURRENCY", "")
    if workers.isdigit() and int(workers) > 1 and not environ.get("PROMETHEUS_MULTIPROC_DIR"):
        yield Finding("metrics", "warn", f"WEB_CONCURRENCY={workers}: a scrape shows one worker of them", "set PROMETHEUS_MULTIPROC_DIR")


def check_transports(settings: Settings) -> Iterator[Finding]:
    """Consumers are configured rightly."""
    from spanline.relay.presets import preset_of
    from spanline.transports.config import configured, unnamed_config

    waits = "mend it: until then the service delivers to none of these, and what it records waits in the journal"
    try:
        found = configured(settings)
    except ConfigurationError as error:
        yield Finding("delivery", "broken", " ".join(str(error).split()), waits)
        return
    for name, transport, options in found:
        try:
            preset_of(options)
        except ConfigurationError as error:
            yield Finding("delivery", "broken", f"{name}: {error}", waits)
        else:
            yield Finding("delivery", "ok", f"{name}: {transport.kind}, preset {options.get('preset', 'openlineage')}")
        transport.close(0.1)
    if not found:
        yield Finding("delivery", "ok", "no consumer besides the ledger: nothing goes over the network")
    stray = unnamed_config(settings)
    if stray is not None:
        yield Finding(
            "delivery", "note", f"{stray} is not used", f"openlineage-python would pick it up; for spanline set OPENLINEAGE_CONFIG={stray}"
        )


def check_extras() -> Iterator[Finding]:
    """What is installed beside the core."""
    for package, use in (
        ("fastapi", "instrument(app) for FastAPI"), ("lancedb", "Index.from_lancedb"), ("openlineage-python", "transports of openlineage.yml"),
        ("opentelemetry-instrumentation-genai-openai", "spans of the openai client"),
    ):  # fmt: skip
        try:
            yield Finding("packages", "ok", f"{package} {importlib.metadata.version(package)}: {use}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("packages", "note", f"{package} is not installed: {use}")

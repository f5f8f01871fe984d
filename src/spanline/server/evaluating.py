"""Evaluations of runs in the ledger, from people and programs elsewhere: by HTTP and from the command line."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spanline._guard import guard
from spanline.journal.writer import JournalWriter
from spanline.lineage.evaluated import evaluated_event, only_evaluations, unseen
from spanline.lineage.producer import PRODUCER
from spanline.record.run import Evaluation, RunRecord
from spanline.server.source import Source
from spanline.settings import Settings, slug

_MAX_WRITERS = 16


class Evaluating:
    """Adds evaluations to runs: in the ledger at once, so that the next question sees them, and in the journal of the run's
    service where that is on this host, from which other consumers get them.

    Args:
        ledger: Where the runs are.
        settings: State folder, and base of schemas.
        measured: Told of each run's new evaluations, as a record with nothing else.

    Thread-safety: one lock.
    """

    def __init__(self, ledger: Source, settings: Settings, *, measured: Callable[[RunRecord], None] | None = None) -> None:
        self._ledger = ledger
        self._settings = settings
        self._measured = measured
        self._writers: OrderedDict[Path, JournalWriter] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, id: str, evaluations: Sequence[Evaluation]) -> dict[str, Any] | None:
        """Add evaluations to the run that an id means.

        Args:
            id: A trace, run, request or response id.
            evaluations: Checked (`spanline.lineage.evaluated`).

        Returns:
            `{runId, added}`, where 0 means that the run had them; None when the id is unknown.

        Raises:
            LedgerError: The ledger does not answer.
        """
        with self._lock:
            document = self._ledger.document(id)
            if document is None:
                return None
            new = unseen(document, evaluations)
            line = evaluated_event(document, new, producer=PRODUCER, schema_base=self._settings.schema_base)
            if line is not None:
                self._ledger.ingest([line])
                self._journal(document, line)
                if self._measured is not None:
                    self._measured(only_evaluations(document, new))
            return {"runId": document["run"]["runId"], "added": len(new)}

    def close(self) -> None:
        """Seal what was journalled."""
        with self._lock:
            while self._writers:
                self._writers.popitem()[1].close()

    def _journal(self, document: dict[str, Any], line: bytes) -> None:
        with guard("evaluating.journal"):
            facets: dict[str, Any] = document["run"].get("facets") or {}
            trace: dict[str, Any] = facets.get("spanline_trace") or {}
            service = trace.get("service")
            if not isinstance(service, str):
                return
            folder = self._settings.base / "journal" / slug(service)
            if not folder.is_dir():
                return  # That service runs on another host, which has its own consumers.
            writer = self._writers.get(folder)
            if writer is None:
                writer = self._writers[folder] = JournalWriter(folder)
                if len(self._writers) > _MAX_WRITERS:
                    self._writers.popitem(last=False)[1].close()
            writer.write(line)

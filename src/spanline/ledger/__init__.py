"""The ledger: which runs used which artifacts, which conflicts and gaps they have, and where they come from."""

from __future__ import annotations

from spanline.ledger.ingest import IngestReport, Rejected
from spanline.ledger.ledger import Ledger

__all__ = ["IngestReport", "Ledger", "Rejected"]

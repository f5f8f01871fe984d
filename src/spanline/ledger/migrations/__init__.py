"""Migrations of the ledger's tables, by Alembic, run when a ledger is opened."""

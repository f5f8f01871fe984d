"""Convert: OTLP files in, OpenLineage events out, without a network, a ledger or a trace of it on the disk."""

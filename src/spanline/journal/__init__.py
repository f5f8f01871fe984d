"""The journal: a folder of append-only NDJSON segments, one OpenLineage event a line."""

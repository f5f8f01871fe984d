"""The pages and the HTTP API: run page, list of runs, OpenLineage in, schemas (needs the `server` extra)."""

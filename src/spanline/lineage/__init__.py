"""Lineage: run records as OpenLineage events, with the JSON schemas of our facets."""

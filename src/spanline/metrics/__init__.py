"""Metrics: one catalogue, the Prometheus engine with exemplars, and the exposition."""

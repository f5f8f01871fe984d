"""Distro: what makes `opentelemetry-instrument uvicorn app:app` give lineage without a line of code."""

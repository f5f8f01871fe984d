"""Boards: one module a dashboard."""

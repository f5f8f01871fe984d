"""Dialects: one table for each way instrumentations name things, and the reader that turns spans into operations."""

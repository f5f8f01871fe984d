"""Adapters and readers of vector stores are thin: nothing imports them, and they import nothing foreign."""

from __future__ import annotations

import pytest

from spanline.record.content import digest_of_rows, labelled, row, stable_id
from tests.unit.test_house_imports import loaded_by

FOREIGN = {
    "chromadb", "qdrant_client", "faiss", "numpy", "lancedb", "psycopg", "langchain", "langchain_core", "llama_index", "openai", "agents",
}  # fmt: skip


def test_the_public_names_load_no_integration():
    modules = loaded_by("import spanline; spanline.Index; spanline.retrieval; spanline.configure")
    assert [name for name in modules if name.startswith("spanline.integrations")] == []
    assert {name.split(".")[0] for name in modules} & FOREIGN == set()


@pytest.mark.parametrize("name", ["langchain", "llamaindex", "openai_agents", "openai_prompts", "stores"])
def test_an_integration_loads_nothing_foreign(name):
    assert {module.split(".")[0] for module in loaded_by(f"import spanline.integrations.{name}")} & FOREIGN == set()


def test_the_digest_of_rows():
    rows = [row(n, {"a": n, "b": 1}, [n, 0.5]) for n in range(5)]
    digest = digest_of_rows(rows)
    assert digest == digest_of_rows(reversed(rows))
    assert digest == digest_of_rows(row(n, {"b": 1, "a": n}, [n, 0.5]) for n in range(5))
    assert (
        len({digest, digest_of_rows(rows[1:]), digest_of_rows([*rows, rows[0]]), digest_of_rows(rows, "cosine"), digest_of_rows([])}) == 5
    )


def test_a_row_has_no_two_readings():
    assert row(1, None, [1, 2], [3]) != row(1, None, [1], [2, 3])
    assert row("1", None) != row(1, None)
    assert row(None, ["x"]) != row("x", None)


def test_ids_drawn_by_chance():
    assert stable_id("0b5cbb41-3f0c-4bd1-9d23-6c8e0a8c1e55") is None
    assert stable_id("0b5cbb413f0c4bd19d236c8e0a8c1e55") is None
    for kept in ("doc-1", 7, "0b5cbb41-3f0c-5bd1-9d23-6c8e0a8c1e55", "018f4e3a-3f0c-7bd1-9d23-6c8e0a8c1e55"):
        assert stable_id(kept) == kept


def test_labels():
    assert labelled("v7") == ("v7", None)
    assert labelled("latest") == (None, "latest")
    assert labelled(3) == ("3", None)
    assert labelled(" ") == labelled(None) == (None, None)
    assert labelled("a@b") == ("a_b", None)

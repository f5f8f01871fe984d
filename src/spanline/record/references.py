"""Artifact references: what users write to name a model, prompt, index, corpus, data set, code, release or eval set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from spanline.errors import ConfigurationError
from spanline.record import chroma, faiss, lancedb, pgvector, qdrant
from spanline.record.content import Read
from spanline.record.digest import content_digest, directory_digest, file_digest
from spanline.record.reference import Reference, decode_artifacts, reference_of, references_of, text_of
from spanline.record.template import Template, read_template, split_version

__all__ = ["Code", "Corpus", "Dataset", "EvalSet", "Index", "Model", "PromptTemplate", "Reference", "Release", "decode_artifacts"]


@dataclass(frozen=True)
class Dataset(Reference):
    """A data set: a table, a file, a training or evaluation set. `schema_hash` is any label of its schema."""

    kind: ClassVar[str] = "dataset"
    schema_hash: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(schema_hash=text_of("Dataset", "schema_hash", self.schema_hash))

    def made_of(self) -> tuple[str, ...]:
        """`schema:<hash>`, when given."""
        return (f"schema:{self.schema_hash}",) if self.schema_hash else ()


@dataclass(frozen=True)
class Corpus(Reference):
    """The documents that an index was built from."""

    kind: ClassVar[str] = "corpus"


@dataclass(frozen=True)
class EvalSet(Reference):
    """Questions and expectations that an evaluation ran on."""

    kind: ClassVar[str] = "eval_set"


@dataclass(frozen=True)
class Code(Reference):
    """Source code: the repository's name, the commit as version."""

    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Release(Reference):
    """A release of a service: the image's digest as digest."""

    kind: ClassVar[str] = "release"


@dataclass(frozen=True)
class Model(Reference):
    """A model: `openai/gpt-4o`, or weights of one's own.

    Args:
        base: The model that it was tuned from; a reference or `name@version`.
        adapters: LoRA adapters and the like.
        trained_on: Data sets or corpora; a string is a data set's `name@version`.
        quantization: Such as `q4_k_m`.
    """

    kind: ClassVar[str] = "model"
    base: Model | str | None = field(default=None, kw_only=True)
    adapters: tuple[Model | str, ...] = field(default=(), kw_only=True)
    trained_on: tuple[Reference | str, ...] = field(default=(), kw_only=True)
    quantization: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            base=reference_of(Model, "base", self.base),
            adapters=references_of(Model, "adapters", self.adapters, (Model,)),
            trained_on=references_of(Dataset, "trained_on", self.trained_on, (Dataset, Corpus, EvalSet)),
            quantization=text_of("Model", "quantization", self.quantization),
        )

    def parts(self) -> tuple[Reference, ...]:
        """Base model, adapters, training data."""
        base = () if self.base is None else (self.base,)
        return cast(tuple[Reference, ...], (*base, *self.adapters, *self.trained_on))

    def made_of(self) -> tuple[str, ...]:
        """The parts, and `quantization:<label>`."""
        return super().made_of() + ((f"quantization:{self.quantization}",) if self.quantization else ())

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], name: str | None = None, version: str | None = None, **more: Any) -> Self:
        """A model of the file (or folder) of its weights, with its digest; a file's is kept until it changes.

        Name and version come from the file's name (`fees-tuned@v2.gguf`) unless given.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        found, label = split_version(Path(path))
        try:
            status = Path(path).stat()
            if Path(path).is_dir():
                digest = directory_digest(path)
            else:
                digest = _digest_of_file(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino)
        except OSError as error:
            raise ConfigurationError(f"Model.from_file: {path} cannot be read: {error.strerror}") from error
        return cls(name or found, version or label, digest, **more)


@dataclass(frozen=True)
class Index(Reference):
    """A vector or search index.

    Args:
        corpus: What it was built from; a reference or `name@version`.
        embedding_model: What its vectors were made with; a reference or `name@version`.
    """

    kind: ClassVar[str] = "index"
    corpus: Corpus | str | None = field(default=None, kw_only=True)
    embedding_model: Model | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            corpus=reference_of(Corpus, "corpus", self.corpus, (Corpus, Dataset)),
            embedding_model=reference_of(Model, "embedding_model", self.embedding_model),
        )

    def parts(self) -> tuple[Reference, ...]:
        """Corpus and embedding model."""
        return cast(tuple[Reference, ...], tuple(part for part in (self.corpus, self.embedding_model) if part is not None))

    @classmethod
    def from_lancedb(cls, table: Any, *, name: str | None = None, version: str | None = None, **more: Any) -> Self:
        """An index of an open LanceDB table: its name, version (the tag on it, else its number) and digest.

        The digest is one of the rows of the version that is open: the same rows in the same order have the same digest on
        every host, however the table was written; a table rebuilt from other documents has another, also when `version=` names
        a label that stayed. Above 256 MB of data it is the digest of the version's manifest, which any rewrite changes.

        Raises:
            ConfigurationError: Not a LanceDB table, or an asynchronous one.
        """
        return cls.of_read(lancedb.describe(table), name, version, more)

    @classmethod
    def from_chroma(cls, collection: Any, *, name: str | None = None, version: str | None = None, **more: Any) -> Self:
        """An index of a Chroma collection: its name, its digest, and the version that its metadata names (`{"version": "v3"}`).

        The digest is one of ids, texts, metadata and vectors, whatever the order of adding: a collection rebuilt from other documents
        has another, also under the same version. Ids that are random UUIDs (version 4) do not count. Chroma counts no versions, so
        that without a label the digest alone tells builds apart; above 200,000 rows there is none.

        Raises:
            ConfigurationError: Not a Chroma collection, or one of an asynchronous client.
        """
        return cls.of_read(chroma.describe(collection), name, version, more)

    @classmethod
    def from_qdrant(cls, client: Any, collection: str, *, name: str | None = None, version: str | None = None, **more: Any) -> Self:
        """An index of a Qdrant collection, by its name or an alias; the version is in its metadata, else the collection behind the alias.

        The digest is one of ids, payloads, vectors and distance, whatever the order of adding. All points are read (about 10,000 a
        second in local mode); above 200,000 there is no digest. Ids that are random UUIDs (version 4) do not count.

        Raises:
            ConfigurationError: Not a Qdrant client, an asynchronous one, or there is no such collection.
        """
        return cls.of_read(qdrant.describe(client, collection), name, version, more)

    @classmethod
    def from_faiss(
        cls, index: Any, name: str, *, version: str | None = None, documents: faiss.Documents | None = None, **more: Any
    ) -> Self:
        """An index of a FAISS index, which knows neither its name nor its version.

        The digest is one of vectors, dimension and metric, and of what each vector stands for: `documents`, by its row (or by the id
        given to `add_with_ids`), e.g. a list of texts; without them ids and numbers of rows count as they are. Flat, HNSW and IVF
        (flat) indexes: whatever the order of adding. Others (PQ, SQ, pre-transformed): of their serialised bytes, which takes as much
        memory again. About 200,000 vectors of 384 numbers a second; above a gigabyte of vectors there is no digest.

        Raises:
            ConfigurationError: Not a FAISS index.
        """
        return cls(name, version, faiss.digest(index, documents), **more)

    @classmethod
    def from_pgvector(
        cls,
        connection: Any,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        name: str | None = None,
        version: str | None = None,
        **more: Any,
    ) -> Self:
        """An index of a PostgreSQL table with vectors; the version is in the table's comment, when that is JSON: `{"version": "v3"}`.

        The digest is one of the rows, whatever their order; serial numbers, times and ids that PostgreSQL fills in by default do not
        count, unless `columns` names them. The server computes it in one scan, about 20,000 rows of 384 numbers a second; no index is
        read; above 4 GB there is none. Needs PostgreSQL 11 and psycopg 3; a transaction that is open stays open.

        Raises:
            ConfigurationError: Not a psycopg connection, an asynchronous one, or there is no such table or column.
        """
        return cls.of_read(pgvector.describe(connection, table, columns), name, version, more)

    @classmethod
    def of_read(cls, read: Read, name: str | None, version: str | None, more: dict[str, Any]) -> Self:
        """The reference of what was read of a real index; name and version instead of its own, where given."""
        if read.stage is not None:
            more.setdefault("stage", read.stage)
        return cls(name or read.name, version or read.version, read.digest, **more)


@dataclass(frozen=True)
class PromptTemplate(Reference):
    """A prompt template; its digest is that of its text unless given.

    `text` has `{variables}`; `{{` and `}}` stand for braces; braces that enclose no plain name (JSON) are text.
    """

    kind: ClassVar[str] = "prompt"
    text: str | None = field(default=None, kw_only=True, repr=False)
    _template: Template | None = field(default=None, init=False, repr=False, compare=False, hash=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        text = cast(object, self.text)
        if text is None:
            return
        if not isinstance(text, str):
            raise ConfigurationError(f"PromptTemplate {self.name!r}: text is a {type(text).__name__}, expected a string")
        self._set(_template=Template(text), digest=self.digest or content_digest(text))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in the text, each once, in order."""
        return self._template.variables if self._template else ()

    def render(self, **values: object) -> str:
        """The text with its variables put in; braces in values are left as they are.

        Raises:
            ConfigurationError: A variable is missing (the message names it), or the template has no text.
        """
        if self._template is None:
            raise ConfigurationError(f"prompt {self}: it was made without text; give text= or use from_file()")
        try:
            return self._template.render(values)
        except KeyError as missing:
            given = ", ".join(sorted(values)) or "none"
            raise ConfigurationError(f"prompt {self}: variable {missing.args[0]!r} is missing; given: {given}") from None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], name: str | None = None, version: str | None = None, **more: Any) -> Self:
        """A template from a UTF-8 file. Name and version: the arguments, else front matter, else the file's name (`fees@v7.txt`).

        Front matter is optional: lines `name: fees`, `version: v7`, `owner: …`, `stage: …` between two lines `---` at the top.
        It is no part of the text, nor of its digest.

        Raises:
            ConfigurationError: The file cannot be read or is not UTF-8.
        """
        found, label = split_version(Path(path))
        head, text = read_template(Path(path))
        for key in ("owner", "stage"):
            if key in head:
                more.setdefault(key, head[key])
        return cls(name or head.get("name") or found, version or head.get("version") or label, text=text, **more)


@lru_cache(maxsize=64)
def _digest_of_file(path: str, size: int, mtime_ns: int, inode: int) -> str:
    """Digest of a file, kept while size, time of change and inode stay (weights take seconds a gigabyte)."""
    return file_digest(path)

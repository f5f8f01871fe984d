"""Redaction: what of a URL, a document id or a source may leave (contract.md, "Datasets")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit, urlunsplit

import msgspec

from spanline.naming import cached
from spanline.record.artifact import Artifact, Document, Retrieval

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")

_QUERY = re.compile(r"\?[\w.%~-]+=.*", re.DOTALL)
"""A query, also behind a path without scheme."""
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)")
"""Scheme, host with its user part and port, and path."""
_INLINE = ("data:", "mailto:")
"""Schemes of which the rest is content, or a person."""


def without_user(url: str) -> str:
    """A URL without user part, the rest as it stands: for links that other people see."""
    match = URL.match(url)
    if match is None or "@" not in match[2]:
        return url
    return f"{match[1]}://{match[2].rpartition('@')[2]}{url[match.end(2) :]}"


@cached(1024)
def without_secrets(text: str) -> str:
    """A URL without user part, query and fragment; anything else as it stands."""
    match = URL.match(text)
    if match is None:
        return text
    scheme, host, path = match.groups()
    return f"{scheme}://{host.rpartition('@')[2]}{path}"


def clean_id(value: str, digest: Callable[[str], str]) -> str:
    """A document id as it may leave: URL query, fragment and user part cut, e-mail addresses as keyed digests.

    Args:
        value: The id as recorded.
        digest: Makes a keyed digest of a value that names a person.
    """
    if value.startswith(_INLINE):
        return digest(value)
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:
            return digest(value)
        value = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if "?" in value:
        value = _QUERY.sub("", value)
    if "@" in value:
        value = _EMAIL.sub(lambda match: digest(match.group().lower()), value)
    return value


def clean_documents(artifacts: Iterable[Artifact], digest: Callable[[str], str]) -> tuple[Artifact, ...]:
    """The artifacts with the ids and sources of their documents cleaned; the same objects where nothing was to be done."""
    return tuple([
        artifact if artifact.retrieval is None else _with_clean_documents(artifact, artifact.retrieval, digest) for artifact in artifacts
    ])  # fmt: skip


def _with_clean_documents(artifact: Artifact, retrieval: Retrieval, digest: Callable[[str], str]) -> Artifact:
    for document in retrieval.documents:
        if _suspicious(document):
            break
    else:
        return artifact
    documents = tuple(
        msgspec.structs.replace(
            document,
            id=clean_id(document.id, digest),
            source=clean_id(document.source, digest) if document.source is not None else None,
        )
        for document in retrieval.documents
    )
    return msgspec.structs.replace(artifact, retrieval=msgspec.structs.replace(retrieval, documents=documents))


def _suspicious(document: Document) -> bool:
    for value in (document.id, document.source):
        if value is not None and ("@" in value or "://" in value or "?" in value or value.startswith(_INLINE)):
            return True
    return False

"""Reference: the base of all artifact references, its checks, and how references travel on spans."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, TypeVar, cast

import msgspec

from spanline.errors import ConfigurationError
from spanline.naming import MAX_NAME, is_alias
from spanline.record.artifact import Artifact, Evidence, Role
from spanline.record.redact import without_secrets

MAX_ENCODED = 1 << 20
"""Characters. A longer attribute is none of ours and is not decoded."""

_DIGEST = re.compile(r"[A-Za-z0-9]+(?:[+._-][A-Za-z0-9]+)*:[0-9a-fA-F]{4,128}\Z")
_decoder = msgspec.json.Decoder(tuple[Artifact, ...])
_R = TypeVar("_R", bound="Reference")


@dataclass(frozen=True)
class Reference:
    """Base of all references: immutable, hashable, checked when made.

    Args:
        name: Without version, at most 255 characters, no `@`.
        version: A label such as `v7`. An alias (`latest`, `prod` …) is no version and is kept as `stage`.
        digest: `sha256:<hex>` of the content.
        owner: Team or person that answers for it.
        stage: `prod`, `canary` …
        uri: Where it is.

    Raises:
        ConfigurationError: An argument is wrong; the message says which.
    """

    kind: ClassVar[str] = "dataset"

    name: str
    version: str | None = None
    digest: str | None = None
    owner: str | None = None
    stage: str | None = None
    uri: str | None = None
    _cache: dict[tuple[Role, Evidence], str] = field(
        default_factory=dict[tuple[Role, Evidence], str], init=False, repr=False, compare=False, hash=False, kw_only=True
    )

    def __post_init__(self) -> None:
        what = type(self).__name__
        name = text_of(what, "name", self.name)
        if name is None:
            raise ConfigurationError(f"{what}: the name is empty")
        if "@" in name:
            head, _, tail = name.rpartition("@")
            raise ConfigurationError(f"{what} {name!r}: a name has no '@'; write {what}({head!r}, version={tail!r})")
        # An int is what many registries call a version.
        given = cast(object, self.version)
        version = text_of(what, "version", str(given) if type(given) is int else given)
        if version is not None and "@" in version:
            raise ConfigurationError(f"{what} {name!r}: version {version!r} has an '@', which separates name and version")
        stage = text_of(what, "stage", self.stage)
        if version is not None and is_alias(version):
            version, stage = None, stage or version
        digest = text_of(what, "digest", self.digest)
        if digest is not None and not _DIGEST.match(digest):
            raise ConfigurationError(f"{what} {name!r}: digest {digest!r} is not of the form 'sha256:<hex>'")
        self._set(
            name=name, version=version, digest=digest.lower() if digest else None, stage=stage,
            owner=text_of(what, "owner", self.owner), uri=text_of(what, "uri", self.uri, 2048),
        )  # fmt: skip

    def _set(self, **values: object) -> None:
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def ref(self) -> str:
        """`kind:name@version`."""
        return f"{self.kind}:{self.name}@{self.version}" if self.version else f"{self.kind}:{self.name}"

    def parts(self) -> tuple[Reference, ...]:
        """What it is made of, directly."""
        return ()

    def made_of(self) -> tuple[str, ...]:
        """References of what it is made of, and facts such as `quantization:q4_k_m`."""
        return tuple(part.ref for part in self.parts())

    def artifacts(self, role: Role = "input", evidence: Evidence = "observed") -> tuple[Artifact, ...]:
        """Itself, in the role and with the evidence given, and all it is made of, as declared inputs; each once."""
        found = {
            self.ref: Artifact(
                kind=self.kind, name=self.name, version=self.version, digest=self.digest, role=role, evidence=evidence,
                owner=self.owner, stage=self.stage, uri=without_secrets(self.uri) if self.uri else None, made_of=self.made_of(),
            )
        }  # fmt: skip
        for part in self.parts():
            for artifact in part.artifacts("input", "declared"):
                found.setdefault(artifact.ref, artifact)
        return tuple(found.values())

    def encode(self, role: Role = "input", evidence: Evidence = "observed") -> str:
        """`artifacts(role, evidence)` as JSON, kept after the first call."""
        text = self._cache.get((role, evidence))
        if text is None:
            text = self._cache[role, evidence] = msgspec.json.encode(self.artifacts(role, evidence)).decode()
        return text

    @property
    def encoded(self) -> str:
        """Value of the span attribute `spanline.artifacts`: JSON, an observed input and its parts."""
        return self._cache.get(("input", "observed")) or self.encode()

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


def decode_artifacts(text: object) -> tuple[Artifact, ...]:
    """Artifacts of the attribute `spanline.artifacts`; `()` for anything that is not what `encode` wrote."""
    if not isinstance(text, str) or len(text) > MAX_ENCODED:
        return ()
    # What is long is not kept: a few thousand references of a kilobyte are the ordinary case.
    return _decode(text) if len(text) <= 8192 else _decode.__wrapped__(text)


@lru_cache(maxsize=1024)
def _decode(text: str) -> tuple[Artifact, ...]:
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()


def text_of(what: str, argument: str, value: object, limit: int = MAX_NAME) -> str | None:
    """A stripped text argument; None when None or, but for the name, empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{what}: {argument} is a {type(value).__name__}, expected a string")
    value = value.strip()
    if len(value) > limit:
        raise ConfigurationError(f"{what}: {argument} has {len(value)} characters, at most {limit} are kept")
    if any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in value):
        raise ConfigurationError(f"{what}: {argument} {value!r} has control characters or lone surrogates")
    return value or None


def reference_of(cls: type[_R], argument: str, value: object, allowed: tuple[type[Reference], ...] = ()) -> Reference | None:
    """A reference as it is, or one from `name@version`."""
    if value is None or isinstance(value, allowed or cls):
        return cast(Reference | None, value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{argument}: expected {cls.__name__} or 'name@version', got {type(value).__name__}")
    name, at, version = value.rpartition("@")
    return cls(name, version) if at else cls(value)


def references_of(cls: type[_R], argument: str, values: object, allowed: tuple[type[Reference], ...]) -> tuple[Reference | None, ...]:
    """References from one or several."""
    if isinstance(values, (str, Reference)):
        values = (values,)
    if values is None:
        return ()
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{argument}: expected {cls.__name__} or a list of them, got {type(values).__name__}")
    return tuple(reference_of(cls, argument, value, allowed) for value in cast(Iterable[object], values))

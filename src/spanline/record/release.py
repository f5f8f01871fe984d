"""Release: which code, image and deployment this process is, found from what is around it.

For each fact the first source that has it counts: resource attributes, then environment variables of CI systems, platforms and
the Downward API, then build metadata of the installed package (PEP 610), then `.git`. What no source has is absent.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from spanline._guard import guard
from spanline.naming import clean
from spanline.record import sources
from spanline.record.artifact import Artifact
from spanline.record.digest import file_digest
from spanline.record.git import Checkout, clean_url, find_checkout
from spanline.record.run import Release

MAX_LOCK_BYTES = 4 << 20

_REVISION = re.compile(r"[0-9a-fA-F]{7,64}\Z")
_IMAGE = re.compile(r"(?:.*@)?(sha256:[0-9a-f]{64})\Z")
_LABEL = re.compile(r'([^=\s]+)="((?:[^"\\]|\\.)*)"\s*\Z')


def discover_release(
    environ: Mapping[str, str] | None = None, resource: Mapping[str, Any] | None = None, start: Path | None = None
) -> Release:
    """What is running, as far as it can be told without asking anybody. Reads a few small files; call it once.

    Args:
        environ: Default `os.environ`.
        resource: Attributes of the tracer provider's resource; they beat everything else.
        start: Where to look for `.git` and lock files: default the working directory, then the folder of the main module.
    """
    environ = os.environ if environ is None else environ
    attributes = {**_resource_of(environ), **(resource or {})}
    release = Release()
    with guard("release.attributes"):
        _from_attributes(release, attributes, environ, _pod_labels(environ))
    with guard("release.build"):
        _from_build(release, attributes, environ)
    with guard("release.checkout"):
        folder, checkout = _checkout(start)
        if checkout is not None and release.code_revision is None:
            release.code_revision = checkout.revision
        if checkout is not None and release.repository is None:
            release.repository = checkout.repository
        release.lock_digest = _lock_digest(checkout.root if checkout is not None else folder)
    return release


def release_of_resource(attributes: Mapping[str, Any]) -> Release | None:
    """What the resource attributes of some process say of its release, and nothing of this process; None when they say nothing."""
    release = Release()
    with guard("release.attributes"):
        _from_attributes(release, attributes, {}, {})
    return release if release != Release() else None


def _from_attributes(release: Release, attributes: Mapping[str, Any], environ: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Fill in what attributes, environment variables and pod labels say."""

    def find(keys: tuple[str, ...], variables: tuple[str, ...] = ()) -> str | None:
        values = (*_present(attributes, keys), *_present(environ, variables))
        return next((text for value in values if (text := _text(value))), None)

    release.release = find(("service.version",), sources.VERSION)
    release.deployment = find(sources.DEPLOYMENT_ATTRIBUTES, sources.DEPLOYMENT)
    release.argo_revision = find(sources.ARGO_ATTRIBUTES, sources.ARGO) or _text(labels.get("argocd.argoproj.io/revision"))
    release.rollout_hash = find(sources.ROLLOUT_ATTRIBUTES, sources.ROLLOUT) or _text(_first(labels, sources.ROLLOUT_LABELS))
    release.mesh_revision = find(sources.MESH_ATTRIBUTES, sources.MESH) or _text(_first(labels, sources.MESH_LABELS))
    release.region = find(("cloud.region",), sources.REGION) or _lambda_region(environ)
    release.instance_type = find(("host.type",), sources.INSTANCE_TYPE)
    release.pod = find(("k8s.pod.name",), sources.POD) or _kubernetes_host(environ) or find(("k8s.pod.uid",), sources.POD_UID)
    release.image_digest = _image(attributes, environ)
    release.code_revision = _revision(_present(attributes, sources.REVISION_ATTRIBUTES)) or _revision(_present(environ, sources.REVISION))
    release.code_dirty = _flag(find((), sources.DIRTY))
    release.repository = _repository(attributes, environ)


def code_artifact(release: Release | None, name: str | None = None) -> Artifact | None:
    """The code as an artifact: `code:github.com/org/repo@<revision>`; None when the revision is not known.

    Args:
        release: What `discover_release` found.
        name: Stands for the repository where that is not known; the service's name is a good one.
    """
    if release is None or release.code_revision is None:
        return None
    repository = release.repository.partition("://")[2] if release.repository else None
    return Artifact(kind="code", name=repository or name or "code", version=release.code_revision, uri=release.repository)


def release_artifact(release: Release | None, name: str) -> Artifact | None:
    """The release of a service as an artifact: `release:<service>@<version>` with the image's digest; None when neither is known."""
    if release is None or (release.release is None and release.image_digest is None):
        return None
    return Artifact(kind="release", name=name, version=release.release, digest=release.image_digest)


def _present(values: Mapping[str, Any], keys: Iterable[str]) -> Iterable[Any]:
    return (value for key in keys if (value := values.get(key)) not in (None, ""))


def _first(values: Mapping[str, str], keys: Iterable[str]) -> str | None:
    return next(iter(_present(values, keys)), None)


def _text(value: object) -> str | None:
    """One line of at most 255 characters; None for nothing, and for what the Downward API left unexpanded (`$(NAME)`)."""
    if value is None or isinstance(value, (bytes, Mapping)):
        return None
    text = clean(str(value)).strip()
    return text if text and not text.startswith("$(") else None


def _flag(text: str | None) -> bool | None:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get((text or "").lower())


def _resource_of(environ: Mapping[str, str]) -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES`: comma-separated key=value, percent-encoded."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals}


def _pod_labels(environ: Mapping[str, str]) -> dict[str, str]:
    """Labels and annotations of the pod, where a Downward API volume shows them; only looked for in Kubernetes."""
    found: dict[str, str] = {}
    folder = environ.get("PODINFO_PATH") or ("/etc/podinfo" if environ.get("KUBERNETES_SERVICE_HOST") else "")
    for name in ("annotations", "labels") if folder else ():
        try:
            lines = (Path(folder) / name).read_text("utf-8", "replace")[: 1 << 20].splitlines()
        except OSError:
            continue
        for line in lines:
            if match := _LABEL.match(line):
                found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
    return found


def _revision(values: Iterable[Any]) -> str | None:
    """The first value that is a commit; several variables may hold a branch as well."""
    return next((text.lower() for value in values if (text := _text(value)) and _REVISION.match(text)), None)


def _image(attributes: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """The digest of the image's manifest; of its configuration (`container.image.id`), where there is none."""
    candidates: list[object] = []
    for value in (
        *_present(attributes, sources.IMAGE_ATTRIBUTES),
        *_present(environ, sources.IMAGE),
        *_present(attributes, ("container.image.id",)),
    ):
        candidates.extend(cast(Iterable[object], value) if isinstance(value, (list, tuple)) else re.split(r"[\s,\[\]\"']+", str(value)))
    return next((match[1] for value in candidates if (match := _IMAGE.match(str(value).strip()))), None)


def _repository(attributes: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    urls = [str(value) for value in (*_present(attributes, ("vcs.repository.url.full",)), *_present(environ, sources.REPOSITORY))]
    if slug := environ.get("GITHUB_REPOSITORY"):
        urls.append(f"{environ.get('GITHUB_SERVER_URL') or 'https://github.com'}/{slug}")
    return next((url for text in urls if (url := clean_url(clean(text, 2048)))), None)


def _lambda_region(environ: Mapping[str, str]) -> str | None:
    """`AWS_REGION` says where the process runs only where AWS itself runs it; elsewhere it is whom a client talks to."""
    return _text(environ.get("AWS_REGION")) if environ.get("AWS_EXECUTION_ENV") or environ.get("ECS_CONTAINER_METADATA_URI_V4") else None


def _kubernetes_host(environ: Mapping[str, str]) -> str | None:
    """The host name is the pod's name in Kubernetes."""
    return _text(environ.get("HOSTNAME")) if environ.get("KUBERNETES_SERVICE_HOST") else None


def _from_build(release: Release, attributes: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Version, revision and repository from the metadata of the installed package that is the service, where there is one."""
    if release.release and release.code_revision and release.repository:
        return
    package = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None) or ""
    names = (package.partition(".")[0], environ.get("SPANLINE_SERVICE"), environ.get("OTEL_SERVICE_NAME"), attributes.get("service.name"))
    for number, name in enumerate(map(str, names)):
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name) or name in sources.RUNNERS:
            continue
        try:
            found = metadata.distribution(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
        direct = _json(found.read_text("direct_url.json"))
        if number > 0 and not direct:
            continue  # from a package index: a stranger that bears the service's name
        release.release = release.release or _text(found.version)
        vcs = direct.get("vcs_info")
        if isinstance(vcs, dict):
            release.code_revision = release.code_revision or _revision([cast(dict[str, Any], vcs).get("commit_id")])
            release.repository = release.repository or clean_url(str(direct.get("url", "")))
        return


def _json(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _checkout(start: Path | None) -> tuple[Path, Checkout | None]:
    """The folder of the service and the working tree that holds it."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    # `python -m uvicorn`: the main module is the server's, and its folder tells of the repository around the environment.
    own = main is not None and not {"site-packages", "dist-packages"} & set(Path(main).parts)
    folders = [start] if start is not None else [Path.cwd(), *([Path(main).parent] if main is not None and own else [])]
    for folder in folders:
        found = find_checkout(folder)
        if found is not None:
            return folder, found
    return folders[0], None


def _lock_digest(root: Path) -> str | None:
    """Digest of the first lock file in the root."""
    for name in sources.LOCKS:
        try:
            status = (root / name).stat()
            if stat.S_ISREG(status.st_mode):
                return file_digest(root / name) if status.st_size <= MAX_LOCK_BYTES else None
        except OSError:
            continue
    return None

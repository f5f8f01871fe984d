"""Manifests as plain data: who a pod is reaches the release facet, and every container is closed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from spanline.record.release import discover_release
from spanline.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = sorted(file for name in ("kubernetes", "canary") for file in (DEPLOY / name).glob("*.yaml") if not file.name.startswith("kustom"))
DIGEST = "sha256:" + "9f" * 32
COMMIT = "c0ffee" + "0" * 34
POD: dict[str, Any] = {
    "metadata.name": "fee-assistant-6c54544bf9-x2x1z",
    "metadata.uid": "7d9c1f0e-1111-4222-8333-444455556666",
    "metadata.namespace": "fees",
    "spec.nodeName": "node-7",
    "metadata.labels": {
        "app.kubernetes.io/version": "1.4.0",
        "rollouts-pod-template-hash": "6c54544bf9",
        "service.istio.io/canonical-revision": "v3",
    },
    "metadata.annotations": {
        "spanline.dev/image-digest": DIGEST,
        "spanline.dev/git-commit": COMMIT,
        "spanline.dev/repository": "https://github.com/example/fees",
        "argocd.argoproj.io/revision": "a" * 40,
    },
}


def documents(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


def pods(document: Any) -> Iterator[dict[str, Any]]:
    """Pod specs anywhere in a document."""
    if isinstance(document, dict):
        if "containers" in document:
            yield document
        for value in document.values():
            yield from pods(value)
    elif isinstance(document, list):
        for value in document:
            yield from pods(value)


PODS = [(file.name, pod) for file in FILES for one in documents(file) for pod in pods(one)]


def kubelet(container: dict[str, Any], pod: dict[str, Any]) -> dict[str, str]:
    """The environment as the kubelet makes it: fields of the pod, empty where a label is missing; `$(NAME)` of what stands above."""
    environ: dict[str, str] = {}
    for entry in container["env"]:
        value = entry.get("value")
        if value is None:
            source = entry["valueFrom"]
            if "fieldRef" not in source:
                environ[entry["name"]] = "secret"
                continue
            path = source["fieldRef"]["fieldPath"]
            keyed = re.fullmatch(r"(metadata\.(?:labels|annotations))\['(.+)'\]", path)
            value = pod[keyed[1]].get(keyed[2], "") if keyed else pod[path]
        environ[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: environ.get(match[1], match[0]), value)
    return environ


def app() -> dict[str, Any]:
    (deployment,) = [one for one in documents(DEPLOY / "kubernetes" / "fee-assistant.yaml") if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_downward_api_tells_the_release(tmp_path: Path) -> None:
    release = discover_release(kubelet(app(), POD), start=tmp_path)
    assert release.release == "1.4.0"
    assert release.image_digest == DIGEST
    assert release.code_revision == COMMIT
    assert release.repository == "https://github.com/example/fees"
    assert release.argo_revision == "a" * 40
    assert release.rollout_hash == "6c54544bf9"
    assert release.mesh_revision == "v3"
    assert release.deployment == "fee-assistant"
    assert release.pod == "fee-assistant-6c54544bf9-x2x1z"


def test_a_plain_deployment_without_mesh_and_annotations_claims_nothing(tmp_path: Path) -> None:
    bare = POD | {"metadata.labels": {"pod-template-hash": "5d8f"}, "metadata.annotations": {}}
    release = discover_release(kubelet(app(), bare), start=tmp_path)
    assert release.rollout_hash == "5d8f"
    assert release.pod == POD["metadata.name"]
    assert (release.release, release.image_digest, release.code_revision, release.argo_revision, release.mesh_revision) == (None,) * 5


def test_an_empty_annotation_does_not_hide_what_the_image_knows(tmp_path: Path) -> None:
    text = (DEPLOY / "docker" / "fee-assistant.Dockerfile").read_text()
    (name,) = re.findall(r"(\w+)=\$\{REVISION\}", text)
    bare = POD | {"metadata.annotations": {}}
    assert discover_release({name: COMMIT} | kubelet(app(), bare), start=tmp_path).code_revision == COMMIT
    # And what is set by whoever deploys it is nearer to the truth.
    assert discover_release({name: "b" * 40} | kubelet(app(), POD), start=tmp_path).code_revision == COMMIT


def test_the_podinfo_volume_tells_it_too(tmp_path: Path) -> None:
    """Labels that change in place: what Argo Rollouts writes after the start is in the files, never in the environment."""
    for name in ("labels", "annotations"):
        (tmp_path / name).write_text("".join(f'{key}="{value}"\n' for key, value in POD[f"metadata.{name}"].items()))
    release = discover_release({"PODINFO_PATH": str(tmp_path)}, start=tmp_path)
    assert (release.rollout_hash, release.argo_revision, release.mesh_revision) == ("6c54544bf9", "a" * 40, "v3")
    mounts = {mount["name"]: mount["mountPath"] for mount in app()["volumeMounts"]}
    assert mounts["podinfo"] == "/etc/podinfo"


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(PODS)])
def test_every_pod_is_closed(name: str, pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        image = container["image"]
        assert re.search(r"(:[0-9][\w.-]+|@sha256:[0-9a-f]{64})$", image), f"{image} has no version"
        written = {"/var/lib/spanline", "/tmp", "/gate"}
        assert (
            written & {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            or container["name"] == "judge"
        )


def test_long_running_pods_have_probes() -> None:
    probed = [
        container
        for name, pod in PODS
        for container in pod["containers"]
        if pod.get("restartPolicy") != "Never"
    ]  # fmt: skip
    assert len(probed) == 3
    for container in probed:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
    (server,) = [container for container in probed if container["name"] == "spanline"]
    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_every_setting_is_one() -> None:
    """A misspelt SPANLINE_ variable would be ignored by the app; and a Service called spanline must not bring variables of its own."""
    for _, pod in PODS:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if "env" not in container:
                continue
            environ = kubelet(container, POD)
            settings = Settings.resolve({}, {name: value for name, value in environ.items() if name.startswith("SPANLINE_")})
            assert not settings.warnings
        assert pod.get("enableServiceLinks") is False or pod.get("restartPolicy") == "Never"


def test_pods_fit_a_restricted_namespace() -> None:
    (namespace,) = [one for one in documents(DEPLOY / "kubernetes" / "spanline.yaml") if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_scrapes_carry_the_label_that_the_canary_asks_for() -> None:
    (monitor,) = [one for one in documents(DEPLOY / "kubernetes" / "fee-assistant.yaml") if one["kind"] == "ServiceMonitor"]
    assert "rollouts-pod-template-hash" in monitor["spec"]["podTargetLabels"]
    assert "rollouts_pod_template_hash=" in (DEPLOY / "canary" / "analysis.yaml").read_text()
    (service,) = [one for one in documents(DEPLOY / "kubernetes" / "fee-assistant.yaml") if one["kind"] == "Service"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "fee-assistant"
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]

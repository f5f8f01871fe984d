"""Chart and manifests by the programs that read them: Helm, kubernetes-validate, kubeconform with closed CRDs; and the pod's command, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.requirements import missing, require, server
from tests.servers.cache import cache
from tests.servers.child import eventually, free_port

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "spanline"
MANIFESTS = sorted(
    file for name in ("kubernetes", "canary") for file in (DEPLOY / name).glob("*.yaml") if not file.name.startswith("kustom")
)
CRDS = {"Rollout", "AnalysisTemplate", "PrometheusRule", "ServiceMonitor", "Telemetry", "VirtualService"}
FULL = {
    "image": {"digest": "sha256:" + "ab" * 32},
    "ledger": {"existingSecret": "ledger"},
    "links": {"base": "https://runs.example.com", "jaeger": "https://jaeger.example.com", "repository": "https://github.com/example/fees"},
    "environment": "production",
    "extraEnv": [{"name": "SPANLINE_PRICE_TABLE", "value": "/prices.json"}],
    "persistence": {"storageClass": "fast", "size": "20Gi"},
    "ingress": {"enabled": True, "className": "nginx", "host": "runs.example.com", "tlsSecret": "runs-tls"},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "llm"}}}],
        "egress": [{"ports": [{"port": 5432}], "to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podAnnotations": {"argocd.argoproj.io/revision": "a" * 40},
    "podLabels": {"team": "llm"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
    "priorityClassName": "high",
}

pytestmark = pytest.mark.timeout(90)


def helm(*arguments: str | Path, values: Any = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [server("helm"), *map(str, arguments), *(["--values", "-"] if values is not None else [])],
        input=None if values is None else json.dumps(values), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def rendered(values: Any = None, name: str = "spanline") -> list[dict[str, Any]]:
    done = helm("template", name, CHART, "--namespace", "runs", "--kube-version", "1.31.0", values=values or {})
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def tool(name: str) -> Path:
    """A program of the `deploy_tools` environment."""
    found = sorted(cache().glob(f"deploy-tools-*/bin/{name}"))
    if not found:
        missing(f"{name} is missing: make servers SERVERS=deploy_tools")
    return found[-1]


def validated(folder: Path, documents: list[dict[str, Any]]) -> str:
    """Built-in kinds against the schemas of Kubernetes, nothing unknown allowed. Empty when all is well."""
    file = folder / "documents.yaml"
    file.write_text(yaml.safe_dump_all([one for one in documents if one["kind"] not in CRDS]))
    said = ""
    for version in ("1.27.0", "1.31.0", "1.37.0"):
        command = [tool("kubernetes-validate"), "-k", version, "--strict", "--quiet", file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said += "" if done.returncode == 0 and "WARN" not in done.stdout + done.stderr else done.stdout + done.stderr
    return said


def closed(schema: Any) -> Any:
    """A schema where nothing but the named properties may stand."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
            schema["anyOf"] = [{"type": "string"}, {"type": "integer"}]
    elif isinstance(schema, list):
        schema = [closed(value) for value in schema]
    return schema


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closed schemas of the custom kinds: Argo's from its module, the operator's from its models."""
    require("go", "Go 1.26 or newer")
    folder = tmp_path_factory.mktemp("schemas")
    listed = subprocess.run(
        ["go", "mod", "download", "-json", "github.com/argoproj/argo-rollouts"], cwd=ROOT / "tests" / "servers" / "argo_rollouts",
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for file in (Path(json.loads(listed.stdout)["Dir"]) / "manifests" / "crds").glob("*-crd.yaml"):
        crd = yaml.safe_load(file.read_text())
        for version in crd["spec"]["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            name = f"{crd['spec']['names']['kind'].lower()}-{version['name']}.json"
            (folder / name).write_text(json.dumps(closed(schema)))
    program = """
import json, sys
from cloudcoil.models.istio.networking.v1 import VirtualService
from cloudcoil.models.istio.telemetry.v1 import Telemetry
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
json.dump({kind.__name__: kind.model_json_schema(by_alias=True) for kind in (PrometheusRule, ServiceMonitor, Telemetry, VirtualService)}, sys.stdout)
"""
    done = subprocess.run([tool("python"), "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for kind, schema in json.loads(done.stdout).items():
        (folder / f"{kind.lower()}-v1.json").write_text(json.dumps(closed(schema)))
    return folder


def kubeconform(schemas: Path, folder: Path, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What kubeconform says of each custom resource."""
    file = folder / "custom.yaml"
    file.write_text(yaml.safe_dump_all([one for one in documents if one["kind"] in CRDS]))
    location = f"{schemas}/{{{{.ResourceKind}}}}-{{{{.ResourceAPIVersion}}}}.json"
    command = [server("kubeconform"), "-strict", "-output", "json", "-verbose", "-schema-location", location, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [one for one in json.loads(done.stdout)["resources"] if one["kind"]]


def test_the_chart_is_linted() -> None:
    for values in ({}, FULL):
        done = helm("lint", "--strict", CHART, "--kube-version", "1.31.0", values=values)
        assert done.returncode == 0, done.stdout
        assert "[WARNING]" not in done.stdout


def test_the_plain_manifests_are_those_of_the_chart(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HELM": str(server("helm"))}
    subprocess.run([DEPLOY / "kubernetes" / "render", tmp_path / "spanline.yaml"], env=environ, timeout=60, check=True)
    fresh = (tmp_path / "spanline.yaml").read_text()
    assert fresh == (DEPLOY / "kubernetes" / "spanline.yaml").read_text(), "run deploy/kubernetes/render"


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_what_the_chart_makes_is_valid(tmp_path: Path, schemas: Path, values: Any) -> None:
    documents = rendered(values)
    assert validated(tmp_path, documents) == ""
    assert all(one["status"] == "statusValid" for one in kubeconform(schemas, tmp_path, documents))
    kinds = {one["kind"] for one in documents}
    assert {"StatefulSet", "Service", "ServiceAccount", "NetworkPolicy"} <= kinds
    assert ({"Ingress", "ServiceMonitor"} <= kinds) is bool(values)


def test_all_manifests_are_valid(tmp_path: Path, schemas: Path) -> None:
    documents = [one for file in MANIFESTS for one in yaml.safe_load_all(file.read_text()) if one]
    assert validated(tmp_path, documents) == ""
    # Pods of custom kinds are not in those schemas; as plain ones they are.
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        for template in (
            next(one for one in documents if one["kind"] == "Rollout")["spec"]["template"],
            next(one for one in documents if one["metadata"]["name"] == "spanline-gate")["spec"]["metrics"][0]["provider"]["job"]["spec"][
                "template"
            ],
        )
    ]
    assert validated(tmp_path, pods) == ""
    custom = kubeconform(schemas, tmp_path, documents)
    assert sorted(one["kind"] for one in custom) == ["AnalysisTemplate"] * 4 + ["Rollout"] + ["ServiceMonitor"] * 2 + [
        "Telemetry",
        "VirtualService",
    ]
    assert [one for one in custom if one["status"] != "statusValid"] == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("AnalysisTemplate", ("spec", "metrics", 0, "failureLimits"), 1),
        ("AnalysisTemplate", ("spec", "metrics", 0, "provider", "prometheus", "queri"), "up"),
        ("Rollout", ("spec", "strategy", "canary", "maxSurges"), 1),
        ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "15s"),
        ("ServiceMonitor", ("spec", "podTargetLabel"), ["x"]),
        ("Telemetry", ("spec", "tracing", 0, "customTag"), {}),
        ("VirtualService", ("spec", "http", 0, "retrys"), {}),
    ],
)
def test_the_schemas_find_a_misspelt_key(tmp_path: Path, schemas: Path, kind: str, path: tuple[Any, ...], value: Any) -> None:
    documents = [one for file in MANIFESTS for one in yaml.safe_load_all(file.read_text()) if one and one["kind"] == kind][:1]
    place: Any = documents[0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (found,) = kubeconform(schemas, tmp_path, documents)
    assert found["status"] == "statusInvalid"
    assert str(path[-1]) in found["msg"]


def test_built_in_kinds_are_checked_strictly(tmp_path: Path) -> None:
    (deployment,) = [
        one for one in yaml.safe_load_all((DEPLOY / "kubernetes" / "fee-assistant.yaml").read_text()) if one["kind"] == "Deployment"
    ]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert "readynessProbe" in validated(tmp_path, [deployment])


@pytest.mark.parametrize(
    "values",
    [
        {"tokens": {"existingSecret": ""}},
        {"replicas": 3},
        {"image": {"digest": "latest"}},
        {"links": {"base": "runs.example.com"}},
        {"persistence": {"accessModes": ["ReadWriteMany"]}},
        {"ingress": {"enabled": True}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_wrong_values_are_refused(values: Any) -> None:
    done = helm("template", "spanline", CHART, "--kube-version", "1.31.0", values=values)
    assert done.returncode != 0
    assert next(iter(values)) in done.stderr


def test_values_arrive() -> None:
    documents = {one["kind"]: one for one in rendered(FULL, name="prod")}
    pod = documents["StatefulSet"]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    environ = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert container["image"] == "ghcr.io/spanline/spanline@sha256:" + "ab" * 32
    assert environ["SPANLINE_BASE_URL"] == "https://runs.example.com"
    assert environ["SPANLINE_LEDGER_MAX_BYTES"] == "2147483648"
    assert environ["SPANLINE_PRICE_TABLE"] == "/prices.json"
    assert pod["metadata"]["annotations"] == {"argocd.argoproj.io/revision": "a" * 40}
    assert documents["Service"]["metadata"]["name"] == "prod-spanline"
    assert documents["NetworkPolicy"]["spec"]["ingress"][0]["from"] == FULL["networkPolicy"]["from"]
    assert documents["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_pods_command_serves_as_the_manifest_says(tmp_path: Path) -> None:
    """The server's container without a container: its arguments, its environment, its probes, no home folder, SIGTERM in the grace period."""
    (stateful,) = [one for one in rendered() if one["kind"] == "StatefulSet"]
    spec = stateful["spec"]["template"]["spec"]
    container = spec["containers"][0]
    port = free_port()
    words = {"0.0.0.0": "127.0.0.1", "8008": str(port)}
    arguments = [words.get(word, word) for word in container["args"]]
    secrets = {"SPANLINE_TOKENS": "app,reader", "SPANLINE_HASH_KEY": "key"}
    environ = {entry["name"]: entry.get("value") or secrets[entry["name"]] for entry in container["env"]}
    state = tmp_path / "state"
    state.mkdir()
    environ |= {"SPANLINE_STATE": str(state), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    process = subprocess.Popen(
        [sys.executable, "-m", "spanline.cli", *arguments], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )

    def status(path: str, token: str | None = None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    try:
        eventually(lambda: process.poll() is not None or status(container["startupProbe"]["httpGet"]["path"]) == 200, what="not started")
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert status(container["readinessProbe"]["httpGet"]["path"]) == 200
        assert (status("/metrics"), status("/metrics", "reader"), status("/runs"), status("/api/v1/runs", "app")) == (401, 200, 401, 200)
    finally:
        process.terminate()
        assert process.wait(spec["terminationGracePeriodSeconds"]) == 0
        if process.stderr:
            process.stderr.close()
    assert (state / "ledger.db").exists()


@pytest.mark.parametrize(("folder", "kind", "absent"), [("kubernetes", "Deployment", "Rollout"), ("canary", "Rollout", "Deployment")])
def test_annotations_that_ci_and_argo_cd_set_reach_the_pods(tmp_path: Path, folder: str, kind: str, absent: str) -> None:
    """`kustomize edit` as CI and Argo CD call it, then the pods that come out of it."""
    for name in ("kubernetes", "canary"):
        shutil.copytree(DEPLOY / name, tmp_path / name)
    digest, commit = "sha256:" + "9f" * 32, "c0ffee" + "0" * 34
    for annotation in (
        f"spanline.dev/image-digest:{digest}",
        f"spanline.dev/git-commit:{commit}",
        f"argocd.argoproj.io/revision:{'a' * 40}",
    ):
        subprocess.run([server("kustomize"), "edit", "set", "annotation", annotation], cwd=tmp_path / folder, timeout=30, check=True)
    done = subprocess.run([server("kustomize"), "build", tmp_path / folder], capture_output=True, text=True, timeout=30, check=True)
    documents = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    assert absent not in documents
    assert {"Service", "ServiceMonitor", "NetworkPolicy", "ServiceAccount"} <= set(documents)
    template = documents[kind]["spec"]["template"]
    assert template["metadata"]["annotations"].items() >= {
        "spanline.dev/image-digest": digest, "spanline.dev/git-commit": commit, "argocd.argoproj.io/revision": "a" * 40,
    }.items()  # fmt: skip
    assert validated(tmp_path, list(documents.values())) == ""
    if kind == "Rollout":
        (tmp_path / "built.yaml").write_text(done.stdout)
        checked = subprocess.run(
            [server("argo_rollouts"), "-f", tmp_path / "built.yaml"], capture_output=True, text=True, timeout=30, check=False
        )
        assert json.loads(checked.stdout)["errors"] == []


def test_the_alerts_for_the_operator_are_the_same_rules(tmp_path: Path, schemas: Path) -> None:
    done = subprocess.run(
        [DEPLOY / "kubernetes" / "prometheus-rule", "release=prometheus"], capture_output=True, text=True, timeout=30, check=True
    )
    rule = yaml.safe_load(done.stdout)
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "rules" / "spanline.rules.yml").read_text())
    (found,) = kubeconform(schemas, tmp_path, [rule])
    assert found["status"] == "statusValid", found

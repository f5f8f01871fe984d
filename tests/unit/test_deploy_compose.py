"""The Compose file and the Dockerfiles as they stand: all that is mounted exists, all is pinned, nothing is open to the world."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spanline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"
DOCKER = ROOT / "deploy" / "docker"
STACK: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
IMAGES = sorted(file.name for file in DOCKER.glob("*.Dockerfile"))


def mounts(service: dict[str, Any]) -> list[list[str]]:
    return [str(volume).split(":") for volume in service.get("volumes", [])]


def test_it_has_all_that_links_lead_to() -> None:
    assert {
        "spanline",
        "fee-assistant",
        "marquez",
        "marquez-web",
        "postgres",
        "jaeger",
        "collector",
        "prometheus",
        "alertmanager",
        "grafana",
    } <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_exists(name: str) -> None:
    for source, _, *options in mounts(SERVICES[name]):
        if source.startswith("."):
            assert (COMPOSE.parent / source).exists(), source
            assert options == ["ro"], f"{source} could be changed from inside"
        else:
            assert source in STACK["volumes"]
    for file in SERVICES[name].get("env_file", []):
        assert (COMPOSE.parent / file).is_file()
    if build := SERVICES[name].get("build"):
        context = (COMPOSE.parent / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_are_local(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+(\.\d+)+(-\w+)?$", service["image"]), service["image"]
    for port in service.get("ports", []):
        assert str(port).startswith("127.0.0.1:"), port


def test_every_volume_is_used() -> None:
    assert {source for service in SERVICES.values() for source, *_ in mounts(service) if not source.startswith(".")} == set(
        STACK["volumes"]
    )


@pytest.mark.parametrize("name", ["spanline", "fee-assistant", "collector", "jaeger", "grafana", "alertmanager"])
def test_containers_of_ours_and_others_are_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["spanline", "fee-assistant"])
def test_settings_are_known(name: str) -> None:
    environ = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in SERVICES[name]["environment"].items()}
    for line in (ROOT / "deploy" / "links.env").read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            environ[key] = value
    settings = Settings.resolve({}, environ)
    assert not settings.warnings
    assert settings.tokens == ("local",)
    assert settings.base_url == "http://localhost:8008"


def test_addresses_in_links_are_those_of_the_ports() -> None:
    """deploy/links.env is what all provisioning is written from; the stack must answer there."""
    published = {
        f"http://localhost:{str(port).split(':')[1]}": name for name, service in SERVICES.items() for port in service.get("ports", [])
    }
    leads = dict(
        line.split("=", 1) for line in (ROOT / "deploy" / "links.env").read_text().splitlines() if line and not line.startswith("#")
    )
    assert {key: published[value] for key, value in leads.items()} == {
        "SPANLINE_BASE_URL": "spanline", "SPANLINE_JAEGER_URL": "jaeger", "SPANLINE_GRAFANA_URL": "grafana", "SPANLINE_MARQUEZ_URL": "marquez-web",
    }  # fmt: skip


def test_services_find_one_another() -> None:
    """Every host name in a configuration is a service, at a port where it listens."""
    listens = {
        "spanline": {8008}, "fee-assistant": {8000}, "marquez": {5000}, "postgres": {5432}, "collector": {4317, 4318},
        "jaeger": {4317, 4318, 16686}, "prometheus": {9090}, "alertmanager": {9093}, "grafana": {3000}, "marquez-web": {3000},
    }  # fmt: skip
    texts = [COMPOSE.read_text(), *(path.read_text() for path in mounted_files())]
    found = {
        (host, int(port))
        for text in texts
        for host, port in re.findall(r"(?:https?://|\b)([a-z][a-z-]+):(\d{4,5})\b", text)
        if host not in {"localhost", "http", "https"}
    }
    assert found, "nothing was found"
    unknown = {(host, port) for host, port in found if host in listens and port not in listens[host]}
    assert not unknown
    urls = {host for text in texts for host in re.findall(r"https?://([a-z][a-z.-]+):\d+", text)} - {"localhost"}
    assert urls <= set(listens), urls - set(listens)


def mounted_files() -> list[Path]:
    found: list[Path] = []
    for service in SERVICES.values():
        for source, *_ in mounts(service):
            path = COMPOSE.parent / source
            if source.startswith(".") and "dashboards" not in source:
                found.extend([path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()])
    return found


def test_grafana_finds_its_dashboards_where_provisioning_looks() -> None:
    (provider,) = list((ROOT / "deploy" / "grafana" / "provisioning" / "dashboards").glob("*.yaml"))
    folder = yaml.safe_load(provider.read_text())["providers"][0]["options"]["path"]
    places = {target: (COMPOSE.parent / source).resolve() for source, target, *_ in mounts(SERVICES["grafana"])}
    assert places[folder] == ROOT / "grafana-dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (places[str(Path(home).parent)] / Path(home).name).is_file()


def stages(name: str) -> list[list[tuple[str, str]]]:
    """Instructions of a Dockerfile, a list for each stage."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (DOCKER / name).read_text(), flags=re.MULTILINE))
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest.strip()))
    return found


@pytest.mark.parametrize("name", IMAGES)
def test_images_run_without_root_and_by_hash(name: str) -> None:
    build, final = stages(name)
    assert dict(final)["USER"] == "10001:10001"
    for stage in (build, final):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+( AS build)?", stage[0][1]), "no version"
    installs = [part for word, rest in build + final if word == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert installs
    for command in installs:
        assert "--require-hashes" in command or command.strip().endswith("--no-deps --no-build-isolation ."), command
    assert not [rest for word, rest in build + final if word == "ADD" or "curl " in rest or "wget " in rest]


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_copied_exists_and_is_let_into_the_build(name: str) -> None:
    ignored = (DOCKER / f"{name}.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    copied = [
        source for stage in stages(name) for word, rest in stage if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == entry or fnmatch.fnmatch(source, f"{entry}/*") for entry in let_in), f"{source} is not in the build's context"


def test_the_servers_pins_hold_what_the_server_needs() -> None:
    """constraints/server.txt is what the image installs: each requirement of core and server is there, with hashes."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = (ROOT / "constraints" / "server.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", pins, flags=re.MULTILINE))
    needed = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["server"],
        *project["dependency-groups"]["build"],
    ]
    names = {re.split(r"[\[>=<~! ]", entry)[0].lower() for entry in needed}
    assert names <= pinned
    assert pins.count("--hash=sha256:") > len(pinned)


def test_each_image_has_the_revision_as_label() -> None:
    for name in IMAGES:
        labels = " ".join(rest for word, rest in stages(name)[-1] if word == "LABEL")
        assert 'org.opencontainers.image.revision="${REVISION}"' in labels
    # The example says it to spanline too.
    assert "VCS_REF=${REVISION}" in (DOCKER / "fee-assistant.Dockerfile").read_text()

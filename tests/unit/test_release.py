"""Code and release, from real repositories, the environment, resource attributes and build metadata."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from spanline.record.artifact import Artifact
from spanline.record.digest import content_digest
from spanline.record.git import clean_url, find_checkout
from spanline.record.release import code_artifact, discover_release, release_artifact
from spanline.record.run import Release

IMAGE = "sha256:" + "ab" * 32
SHA = "0123456789abcdef0123456789abcdef01234567"


def git(folder, *args):
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    names = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", *names, *args], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init")
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    git(folder, "remote", "add", "fork", "https://example.org/fork.git")
    git(folder, "remote", "add", "origin", "https://user:s3cret@github.com/org/fees.git")
    return folder


def found(folder):
    return discover_release({}, {}, folder)


def test_a_branch(repo):
    head = git(repo, "rev-parse", "HEAD")
    release = found(repo / "app")
    assert (release.code_revision, release.repository) == (head, "https://github.com/org/fees")
    assert release.code_dirty is None, "files alone cannot tell"
    assert find_checkout(repo / "app").root == repo


def test_packed_refs_and_tags(repo):
    git(repo, "tag", "-a", "v1", "-m", "annotated")
    git(repo, "checkout", "-q", "-b", "feature/deep/name")
    git(repo, "commit", "--allow-empty", "-m", "two")
    head = git(repo, "rev-parse", "HEAD")
    git(repo, "pack-refs", "--all", "--prune")
    assert not (repo / ".git" / "refs" / "heads" / "feature" / "deep" / "name").exists()
    assert found(repo).code_revision == head
    git(repo, "commit", "--allow-empty", "-m", "three")
    assert found(repo).code_revision == git(repo, "rev-parse", "HEAD"), "a loose ref beats the packed one"


def test_detached_head(repo):
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "commit", "--allow-empty", "-m", "two")
    git(repo, "checkout", "-q", first)
    assert found(repo).code_revision == first


def test_worktree_and_submodule(repo, tmp_path):
    git(repo, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    git(tmp_path / "side", "commit", "--allow-empty", "-m", "on the side")
    side = found(tmp_path / "side" / "app")
    assert side.code_revision == git(tmp_path / "side", "rev-parse", "HEAD") != git(repo, "rev-parse", "HEAD")
    assert side.repository == "https://github.com/org/fees"
    git(repo, "pack-refs", "--all", "--prune")
    assert found(tmp_path / "side").code_revision == side.code_revision
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init")
    git(outer, "submodule", "add", "-q", str(repo), "sub")
    inner = found(outer / "sub")
    assert inner.code_revision == git(repo, "rev-parse", "HEAD")
    assert inner.repository is None, "a local path is nobody's business"


def test_sha256_repository(tmp_path):
    try:
        git(tmp_path, "init", "--object-format=sha256")
    except subprocess.CalledProcessError:
        pytest.skip("this git makes no SHA-256 repositories")
    git(tmp_path, "commit", "--allow-empty", "-m", "one")
    assert len(found(tmp_path).code_revision) == 64


@pytest.mark.parametrize(
    "break_it",
    [
        lambda r: (r / ".git" / "HEAD").write_text("ref: refs/heads/unborn\n"),
        lambda r: (r / ".git" / "HEAD").write_text("ref: ../../../etc/passwd\n"),
        lambda r: (r / ".git" / "HEAD").write_text("ref: refs/../../../etc/passwd\n"),
        lambda r: (r / ".git" / "HEAD").write_text("ref: refs/heads/a\x00b\n"),
        lambda r: (r / ".git" / "HEAD").write_bytes(b"\xff\xfe\x00"),
        lambda r: (r / ".git" / "HEAD").write_text(""),
        lambda r: (r / ".git" / "refs" / "heads" / "main").write_text("ref: refs/heads/main"),
        lambda r: (r / ".git" / "refs" / "heads" / "main").write_text("nonsense"),
    ],
)
def test_broken_repositories_are_absent_not_wrong(repo, break_it):
    break_it(repo)
    assert found(repo).code_revision is None


def test_broken_configuration(repo):
    (repo / ".git" / "config").write_bytes(
        b'\xff[remote "origin"]\n[remote\n[remote "origin"] url = git@host.org:a/b # x\n[core]\nurl = https://no/no\n'
    )
    assert found(repo).repository == "https://host.org/a/b"
    (repo / ".git" / "config").unlink()
    assert found(repo).repository is None


def test_outside_of_a_repository(tmp_path):
    assert found(tmp_path) == Release()
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert found(tmp_path) == Release()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/org/repo.git", "https://github.com/org/repo"),
        ("https://user:tok@en@github.com/org/repo/", "https://github.com/org/repo"),
        ("https://git.example.org:8443/a/b/c.git?token=x#y", "https://git.example.org:8443/a/b/c"),
        ("git@github.com:org/repo.git", "https://github.com/org/repo"),
        ("github.com:org/repo", "https://github.com/org/repo"),
        ("ssh://git@host.org:2222/org/repo.git", "https://host.org/org/repo"),
        ("git+https://oauth2:x@gitlab.com/g/p", "https://gitlab.com/g/p"),
        ("git://host/repo", "https://host/repo"),
        ("http://[::1]:3000/a/b", "http://[::1]:3000/a/b"),
        ("/srv/git/repo.git", None),
        ("../repo", None),
        ("file:///srv/repo.git", None),
        ("C:\\repos\\x", None),
        ("C:/repos/x", None),
        ("https://", None),
        ("https://host", None),
        ("https://[bad/x", None),
        ("https://host:port/x", None),
        ("javascript://x/alert", None),
        ("", None),
    ],
)
def test_repository_addresses(url, expected):
    assert clean_url(url) == expected


def test_resource_attributes_beat_the_environment_beats_git(repo):
    env = {
        "GITHUB_SHA": "1" * 40,
        "GITHUB_REPOSITORY": "org/other",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.1,cloud.region=eu%2Dwest",
    }
    release = discover_release(env, {}, repo)
    assert (release.code_revision, release.repository, release.release, release.region) == (
        "1" * 40,
        "https://github.com/org/other",
        "1.1",
        "eu-west",
    )
    release = discover_release(
        env, {"vcs.ref.head.revision": SHA, "vcs.repository.url.full": "https://u:p@x.org/a/b.git", "service.version": "2"}, repo
    )
    assert (release.code_revision, release.repository, release.release) == (SHA, "https://x.org/a/b", "2")


def test_everything_kubernetes_and_the_cloud_say(tmp_path):
    resource = {
        "oci.manifest.digest": IMAGE, "k8s.pod.name": "fees-7d9-x", "k8s.deployment.name": "fees", "deployment.id": "1208", "host.type": "m7.large",
        "cloud.region": "eu-west-1", "k8s.pod.label.rollouts-pod-template-hash": "7d9", "k8s.pod.label.istio.io/rev": "1-22", "service.version": "2.3.0",
    }  # fmt: skip
    release = discover_release({"ARGOCD_APP_REVISION": SHA}, resource, tmp_path)
    assert release == Release(
        release="2.3.0", image_digest=IMAGE, pod="fees-7d9-x", deployment="1208", instance_type="m7.large", region="eu-west-1",
        rollout_hash="7d9", mesh_revision="1-22", argo_revision=SHA,
    )  # fmt: skip


def test_downward_api_files(tmp_path):
    (tmp_path / "labels").write_text('app="fees"\nrollouts-pod-template-hash="5f6"\nistio.io/rev="a\\"b"\nbroken\n')
    (tmp_path / "annotations").write_text(f'argocd.argoproj.io/revision="{SHA}"\n')
    release = discover_release(
        {"PODINFO_PATH": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "fees-5f6-abc"}, {}, tmp_path
    )
    assert (release.rollout_hash, release.mesh_revision, release.argo_revision, release.pod) == ("5f6", 'a"b', SHA, "fees-5f6-abc")


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"container.image.repo_digests": (f"reg.example.org/fees@{IMAGE}",)}, IMAGE),
        ({"container.image.repo_digests": f'["reg.example.org/fees@{IMAGE}"]'}, IMAGE),
        ({"container.image.id": IMAGE}, IMAGE),
        ({"container.image.id": "sha256:" + "cd" * 32, "oci.manifest.digest": IMAGE}, IMAGE),
        ({"oci.manifest.digest": "latest"}, None),
        ({"container.image.repo_digests": [None, 3, b"x", {}]}, None),
    ],
)
def test_image_digests(tmp_path, resource, expected):
    assert discover_release({}, resource, tmp_path).image_digest == expected


def test_what_is_no_fact_is_absent(tmp_path):
    env = {
        "GIT_COMMIT": "main", "SOURCE_VERSION": "refs/heads/x", "K8S_POD_NAME": "$(POD)", "IMAGE_DIGEST": "", "AWS_REGION": "eu-west-1",
        "HOSTNAME": "laptop", "GIT_DIRTY": "maybe", "GITHUB_REPOSITORY": "", "OTEL_RESOURCE_ATTRIBUTES": "=,a,b=c=d,service.version=",
        "SERVICE_VERSION": "\x00 \ud800", "GIT_URL": "/srv/x",
    }  # fmt: skip
    assert discover_release(env, {"service.version": b"x", "k8s.pod.name": None, "cloud.region": {}}, tmp_path) == Release()
    assert discover_release({"AWS_REGION": "r", "AWS_EXECUTION_ENV": "AWS_Lambda"}, {}, tmp_path).region == "r"
    assert discover_release({"GIT_COMMIT": "main", "GITHUB_SHA": SHA.upper(), "GIT_DIRTY": "true"}, {}, tmp_path) == Release(
        code_revision=SHA, code_dirty=True
    )
    long = discover_release({"SERVICE_VERSION": "9" * 100_000}, {}, tmp_path).release
    assert len(long) == 255


def test_lock_files(tmp_path):
    (tmp_path / "requirements.txt").write_text("a==1\n")
    assert found(tmp_path).lock_digest == content_digest(b"a==1\n")
    (tmp_path / "uv.lock").write_text("locked")
    assert found(tmp_path).lock_digest == content_digest(b"locked")
    (tmp_path / "uv.lock").write_bytes(b"x" * (5 << 20))
    assert found(tmp_path).lock_digest is None, "too large to read at start; the next file would be another's"


def test_the_lock_file_is_the_repository_s(repo):
    (repo / "uv.lock").write_text("locked")
    assert found(repo / "app").lock_digest == content_digest(b"locked")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package `fee-svc` as pip leaves it after `pip install git+https://…`."""
    info = tmp_path / "site" / "fee_svc-3.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fee-svc\nVersion: 3.1\n")
    direct = info / "direct_url.json"
    direct.write_text(f'{{"url": "https://u:p@host.org/a/b.git", "vcs_info": {{"vcs": "git", "commit_id": "{SHA}"}}}}')
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return direct


def test_build_metadata(installed, tmp_path):
    expected = Release(release="3.1", code_revision=SHA, repository="https://host.org/a/b")
    assert discover_release({}, {"service.name": "fee-svc"}, tmp_path) == expected
    assert discover_release({"OTEL_SERVICE_NAME": "fee-svc"}, {}, tmp_path) == expected
    for text in ("[]", "not json", '{"url": 3, "vcs_info": []}', '{"dir_info": {"editable": true}}'):
        installed.write_text(text)
        assert discover_release({}, {"service.name": "fee-svc"}, tmp_path).code_revision is None
    installed.unlink()
    assert discover_release({}, {"service.name": "fee-svc"}, tmp_path) == Release(), "a stranger from an index that bears the name"
    assert discover_release({}, {"service.name": "../../x"}, tmp_path) == Release()


def test_the_main_module_is_the_service(installed, repo):
    code = "from spanline.record.release import discover_release as d; print(d({}, {}).code_revision)"
    assert subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo,
        env={**os.environ, "PYTHONPATH": os.path.abspath("src")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip() == git(repo, "rev-parse", "HEAD"), "found from the working directory"


def test_artifacts():
    release = Release(release="2.3.0", code_revision=SHA, repository="https://github.com/org/fees", image_digest=IMAGE)
    assert code_artifact(release, "svc") == Artifact(
        kind="code", name="github.com/org/fees", version=SHA, uri="https://github.com/org/fees"
    )
    assert code_artifact(Release(code_revision=SHA), "svc").ref == f"code:svc@{SHA}"
    assert release_artifact(release, "svc") == Artifact(kind="release", name="svc", version="2.3.0", digest=IMAGE)
    for nothing in (None, Release(), Release(pod="x")):
        assert code_artifact(nothing, "svc") is None
        assert release_artifact(nothing, "svc") is None

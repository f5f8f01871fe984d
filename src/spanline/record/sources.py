"""Where facts about a release stand: resource attributes and environment variables, best first."""

from __future__ import annotations

# Sources: OpenTelemetry semantic conventions (vcs, oci, container, deployment, k8s); the CI systems' and platforms' lists of
# predefined variables; Kubernetes' Downward API, whose variables are named by whoever writes the manifest.

REVISION_ATTRIBUTES = ("vcs.ref.head.revision", "vcs.repository.ref.revision", "git.commit.sha")
REVISION = (
    "GIT_COMMIT", "GIT_SHA", "GIT_COMMIT_SHA", "GIT_REVISION", "VCS_REF", "COMMIT_SHA", "SOURCE_COMMIT", "DD_GIT_COMMIT_SHA",  # baked into images
    "GITHUB_SHA", "CI_COMMIT_SHA", "BUILDKITE_COMMIT", "BITBUCKET_COMMIT", "CIRCLE_SHA1", "TRAVIS_COMMIT", "DRONE_COMMIT_SHA",
    "BUILD_SOURCEVERSION", "CODEBUILD_RESOLVED_SOURCE_VERSION", "CI_COMMIT_ID",
    "HEROKU_BUILD_COMMIT", "HEROKU_SLUG_COMMIT", "SOURCE_VERSION", "RENDER_GIT_COMMIT", "RAILWAY_GIT_COMMIT_SHA",
    "VERCEL_GIT_COMMIT_SHA", "KOYEB_GIT_SHA", "OPENSHIFT_BUILD_COMMIT", "CF_PAGES_COMMIT_SHA", "WORKERS_CI_COMMIT_SHA",
)  # fmt: skip
DIRTY = ("GIT_DIRTY",)
REPOSITORY = (
    "GIT_URL", "GIT_REPOSITORY_URL", "DD_GIT_REPOSITORY_URL", "CI_PROJECT_URL", "BUILDKITE_REPO", "BITBUCKET_GIT_HTTP_ORIGIN",
    "CIRCLE_REPOSITORY_URL", "DRONE_REPO_LINK", "BUILD_REPOSITORY_URI", "OPENSHIFT_BUILD_SOURCE",
)  # fmt: skip
VERSION = ("SERVICE_VERSION", "DD_VERSION", "SENTRY_RELEASE", "HEROKU_RELEASE_VERSION")

IMAGE_ATTRIBUTES = ("oci.manifest.digest", "container.image.repo_digests")
IMAGE = ("IMAGE_DIGEST", "CONTAINER_IMAGE_DIGEST", "OCI_MANIFEST_DIGEST", "K8S_IMAGE_DIGEST", "FLY_IMAGE_REF")

DEPLOYMENT_ATTRIBUTES = (
    "deployment.id",
    "deployment.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "faas.version",
)
DEPLOYMENT = (
    "DEPLOYMENT_ID", "DEPLOYMENT_NAME", "K8S_DEPLOYMENT_NAME", "K_REVISION", "CONTAINER_APP_REVISION", "RAILWAY_DEPLOYMENT_ID",
    "VERCEL_DEPLOYMENT_ID", "FLY_MACHINE_VERSION", "AWS_LAMBDA_FUNCTION_VERSION",
)  # fmt: skip

ARGO_ATTRIBUTES = ("argocd.app.revision", "k8s.pod.annotation.argocd.argoproj.io/revision", "k8s.pod.label.argocd.argoproj.io/revision")
ARGO = ("ARGOCD_APP_REVISION", "ARGO_REVISION", "ARGOCD_REVISION")

ROLLOUT_LABELS = ("rollouts-pod-template-hash", "pod-template-hash")
ROLLOUT_ATTRIBUTES = tuple(f"{prefix}.{label}" for label in ROLLOUT_LABELS for prefix in ("k8s.pod.label", "k8s.pod.labels"))
ROLLOUT = ("ROLLOUTS_POD_TEMPLATE_HASH", "ROLLOUT_HASH", "POD_TEMPLATE_HASH")

MESH_LABELS = ("istio.io/rev", "service.istio.io/canonical-revision", "linkerd.io/proxy-version")
MESH_ATTRIBUTES = tuple(
    f"{prefix}.{label}" for label in MESH_LABELS for prefix in ("k8s.pod.label", "k8s.pod.labels", "k8s.pod.annotation")
)
MESH = ("ISTIO_REVISION", "MESH_REVISION")

REGION = ("CLOUD_REGION", "REGION_NAME", "FLY_REGION", "VERCEL_REGION", "RAILWAY_REPLICA_REGION", "GOOGLE_CLOUD_REGION")
INSTANCE_TYPE = ("INSTANCE_TYPE", "NODE_INSTANCE_TYPE")
POD = ("K8S_POD_NAME", "POD_NAME", "MY_POD_NAME")
POD_UID = ("K8S_POD_UID", "POD_UID")

LOCKS = (
    "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "conda-lock.yml", "pixi.lock", "requirements.lock",
    "requirements.txt", "constraints.txt",
)  # fmt: skip

RUNNERS = frozenset(
    [
        "__main__",
        "uvicorn",
        "gunicorn",
        "hypercorn",
        "granian",
        "daphne",
        "pytest",
        "unittest",
        "runpy",
        "opentelemetry",
        "spanline",
        "fastapi",
        "python",
        "unknown_service",
    ]
)
"""Main modules that run a service and are none."""

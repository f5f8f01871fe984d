# syntax=docker/dockerfile:1
# `spanline`: server, relay and command line. From the repository's folder:
#   docker build -f deploy/docker/spanline.Dockerfile --build-arg REVISION=$(git rev-parse HEAD) -t spanline .
# Everything is installed by hash from constraints/server.txt. It runs as nobody in particular and writes to /var/lib/spanline and /tmp
# alone, so the root file system may be read-only.
FROM python:3.13.9-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/spanline
WORKDIR /src
COPY constraints/server.txt constraints/server.txt
RUN /opt/spanline/bin/pip install --require-hashes --only-binary :all: -r constraints/server.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/spanline/bin/pip install --no-deps --no-build-isolation . \
 && /opt/spanline/bin/pip uninstall --yes hatchling editables pathspec pluggy tomlkit trove-classifiers pip \
 && /opt/spanline/bin/python -m compileall -q /opt/spanline

FROM python:3.13.9-slim-bookworm
ARG REVISION=""
ARG VERSION="0.1.0"
LABEL org.opencontainers.image.title="spanline" \
      org.opencontainers.image.description="One trace id, from an LLM answer to everything that made it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/spanline
COPY --from=build /opt/spanline /opt/spanline
ENV PATH=/opt/spanline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SPANLINE_STATE=/var/lib/spanline
USER 10001:10001
WORKDIR /var/lib/spanline
VOLUME /var/lib/spanline
EXPOSE 8008
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8008/readyz', timeout=2)"]
ENTRYPOINT ["spanline"]
CMD ["serve", "--host", "0.0.0.0"]

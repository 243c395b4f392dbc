# The agent, without what only the embedded world needs: locked dependencies with hashes, compiled, run by a user without a
# name, on a base without a shell.
#
#   docker build \
#     --build-arg BUILD_BASE=IMAGE@sha256:DIGEST     # Python with pip and a shell, such as a slim image
#     --build-arg RUN_BASE=IMAGE@sha256:DIGEST       # the same minor version of Python and nothing else: a distroless image
#     --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) -t NAME:0.1.0 .
#
# The bases have no default: whose images to trust, and at which digest, is for who builds to say and to look up. The last
# step fails where the second base has a shell or pip, or another Python than the first.
ARG BUILD_BASE
ARG RUN_BASE

# hadolint ignore=DL3006
FROM ${BUILD_BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock /src/
RUN python3 -m pip install --require-hashes --only-binary :all: --no-compile --target /app -r /src/requirements.lock
COPY agent /app/agent
# Hashes, not times, tell Python that the compiled files fit, so that layers and file systems may change the times.
RUN rm -rf /app/bin \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app

# hadolint ignore=DL3006
FROM ${RUN_BASE}
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="secret-drift-agent" \
      org.opencontainers.image.description="Notices that something in the cluster still runs on an old Azure Key Vault secret, heals it, and proves it." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /app /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /app
RUN ["python3", "-c", "import importlib.util, shutil; from agent.cli import main; assert not main(['policy', 'schema']); assert not shutil.which('sh'), 'a shell'; assert not importlib.util.find_spec('pip'), 'pip'"]
EXPOSE 8080
ENTRYPOINT ["python3", "-m", "agent"]
CMD ["run"]

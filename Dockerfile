# The agent, without what only the embedded world needs: locked dependencies with hashes, compiled, run by a user without a name.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
COPY requirements.lock /src/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-compile --target /app -r /src/requirements.lock
COPY agent /app/agent
# Hashes, not times, tell Python that the compiled files fit, so that layers and file systems may change the times.
RUN rm -rf /app/bin \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app

FROM ${BASE}
COPY --from=build /app /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "agent"]
CMD ["run"]

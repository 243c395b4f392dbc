"""The Dockerfile's steps, done in an empty folder, and the agent started from there as the manifest starts it."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml
from k8s.rendered import kustomize, pod_of
from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
INSTRUCTIONS = [line.split(None, 1) for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro / && exec "$0" "$@"')
"""Its arguments as a program, for which nothing below / can be written; takes a root user."""
PYTHON = os.path.realpath(sys.executable)
NS, VAULT = "shop", "prod-kv"


def _stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, rest in INSTRUCTIONS:
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, " ".join(rest.split())))
    return found


def _environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(word.split("=", 1) for name, rest in stage if name == "ENV" for word in rest.split())


@contextmanager
def _built() -> Iterator[Path]:
    """What the first stage makes, by its own steps, with `/` in a directory that is removed at the end."""
    root = Path(mkdtemp(prefix="image-"))
    try:
        build = _stages()[0]
        settings = {**os.environ, **_environment(build), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        settings.pop("PIP_NO_CACHE_DIR")  # which keeps an image small, and would fetch all of it each time here
        for name, rest in build:
            if name == "COPY":
                source, place = rest.split()
                target = root / place.lstrip("/") / ("" if not place.endswith("/") else source)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(ROOT / source, target)
            elif name == "RUN":
                step = re.sub(r"(?<=\s)/(?=app|src)", f"{root}/", rest)
                subprocess.run(["sh", "-c", step], env=settings, cwd=root, check=True, capture_output=True, timeout=280)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _started(image: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """With the environment of the pod, and nothing can be written: by a mount where one is allowed, and by a limit."""
    final = _environment(_stages()[1])
    settings = {name: value.replace("/app", f"{image}/app") for name, value in final.items()}
    before = _files(image)
    ended = subprocess.run(
        [*_wrapper(), PYTHON, "-S", "-m", "agent", *arguments],
        env={**settings, "HOME": "/nonexistent", **more},
        cwd=image / "app",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=_write_nothing,
    )
    assert _files(image) == before
    return ended


@functools.cache
def _wrapper() -> tuple[str, ...]:
    try:
        allowed = subprocess.run([*READ_ONLY, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return ()
    return READ_ONLY if allowed else ()


def _write_nothing() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _files(image: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in image.rglob("*")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_agent_starts_and_works_from_what_the_image_holds() -> None:
    """Locked wheels and our own code, compiled, are all that it needs for what the manifest asks of it, and no place to
    write in."""
    with _built() as image:
        _holds_no_more_than_it_should(image / "app")
        helped = _started(image, "--help")
        assert (helped.returncode, helped.stderr) == (0, "")
        told = _started(image, "policy", "schema")
        assert (told.returncode, told.stderr) == (0, "")
        assert json.loads(told.stdout)["title"]
        _finds_a_drift(image)


def _holds_no_more_than_it_should(app: Path) -> None:
    sources = [path for path in app.rglob("*.py") if path.is_relative_to(app / "agent")]
    assert sources
    assert [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))] == []
    assert not (app / "bin").exists()
    assert not (app / "pip").exists()
    assert not (app / "trustme").exists(), "what only the embedded world needs"


def _finds_a_drift(image: Path) -> None:
    """The CronJob's arguments and variables, in a world whose secret was rotated."""
    (container,) = pod_of(kustomize("cronjob"))["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == ["SECRET_DRIFT_AGENT_NAMESPACE", "POD_NAME"]
    with Scenario() as s:
        store, chain = b.secret_store(VAULT, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})
        at_rest(s, {f"{VAULT}/api-key": "value-one"}, [store, chain], [], NS)
        s.rotate(VAULT, "api-key", "value-two")
        s.advance(600)
        policy = s.directory / "policy.yaml"
        vaults = [{"name": VAULT, "namespaces": ["*"]}]
        said = {"apiVersion": "secret-drift-agent/v1", "kind": "HealPolicy", "mode": "observe", "vaults": vaults}
        policy.write_text(yaml.safe_dump(said))
        _authority_as_a_file(s.directory)
        arguments = [str(policy) if word.endswith("policy.yaml") else word for word in container["args"]]
        ended = _started(image, *arguments, **s.environment | {"HOME": "/nonexistent"})
    assert ended.returncode == 2, ended.stderr
    assert "stale" in ended.stdout
    assert "Traceback" not in ended.stderr


def _authority_as_a_file(directory: Path) -> None:
    """As a pod finds it: what is written inline, the client of Kubernetes would put into a file first."""
    kubeconfig = yaml.safe_load((directory / "kubeconfig").read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = str(directory / "ca.pem")
    (directory / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))


def test_the_image_is_built_of_nothing_that_is_not_pinned() -> None:
    """The bases are arguments without a default, everything installed has a hash, and no source is built on the way."""
    bases = [rest for name, rest in INSTRUCTIONS if name == "FROM"]
    assert bases == ["${BUILD_BASE} AS build", "${RUN_BASE}"]
    assert [rest for name, rest in INSTRUCTIONS[:2] if name == "ARG"] == ["BUILD_BASE", "RUN_BASE"]
    (installing,) = (rest for name, rest in _stages()[0] if name == "RUN" and " install " in rest)
    assert "--require-hashes" in installing
    assert "--only-binary :all:" in installing


def test_the_image_runs_as_the_user_of_the_manifests() -> None:
    """A number, so that the cluster can see that it is not root; the same in both."""
    said = dict(_stages()[1])
    context = pod_of(kustomize("deployment"))["spec"]["securityContext"]
    assert said["USER"] == f"{context['runAsUser']}:{context['runAsGroup']}"
    labels = {rest for name, rest in _stages()[1] if name == "LABEL"}
    assert all("org.opencontainers.image." in label for label in labels)
    assert json.loads(said["ENTRYPOINT"]) == ["python3", "-m", "agent"]
    shells = [rest for name, rest in _stages()[1] if name in ("RUN", "CMD", "ENTRYPOINT") and not rest.startswith("[")]
    assert shells == []


def test_the_dockerfile_has_no_lint() -> None:
    """hadolint finds nothing."""
    linter = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")

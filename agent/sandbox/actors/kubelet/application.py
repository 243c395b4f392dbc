"""How a container's program behaves, as told by its pod's annotation ``sandbox/app``.

The annotation is a JSON object, container name -> {"env": NAME or "file": PATH, "backend": NAME, "success": line or
lines, "failure": line, "probe": true, "onReject": "exit" or "unready"}. The program offers the value to its backend: it
exits with 1 where the value is not accepted (or, with "unready", stays up and never gets ready). The lines are logged
as they stand; the value itself never is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from agent.sandbox.actors.controller.objects import annotations_of
from agent.sandbox.client import Object

ANNOTATION = "sandbox/app"


@dataclass(frozen=True, kw_only=True)
class Application:
    """One container's program."""

    backend: str
    env: str = ""
    file: str = ""
    success: tuple[str, ...] = ("connected",)
    failure: tuple[str, ...] = ("authentication failed",)
    probe: bool = True
    """Whether readiness follows the connection; without a probe a running container is ready."""
    exits: bool = True
    """Whether it ends when its first value is rejected."""


_KNOWN = {"env", "file", "backend", "success", "failure", "probe", "onReject"}


def _lines(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def applications(pod: Object) -> dict[str, Application]:
    """The programs of a pod's containers. Raises ValueError with what is wrong and what was expected."""
    text = annotations_of(pod).get(ANNOTATION)
    if not text:
        return {}
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ValueError(f"annotation {ANNOTATION} is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"annotation {ANNOTATION} has to be an object, container name -> behaviour")
    return {name: _application(name, spec) for name, spec in told.items()}


def _application(name: str, spec: Object) -> Application:
    if not isinstance(spec, dict) or not set(spec) <= _KNOWN:
        raise ValueError(f"annotation {ANNOTATION}, {name}: expected an object with some of {sorted(_KNOWN)}")
    if bool(spec.get("env")) == bool(spec.get("file")):
        raise ValueError(f"annotation {ANNOTATION}, {name}: expected either env or file")
    if spec.get("onReject", "exit") not in ("exit", "unready"):
        raise ValueError(f"annotation {ANNOTATION}, {name}: onReject is exit or unready")
    return Application(
        backend=spec.get("backend", "default"),
        env=spec.get("env", ""),
        file=spec.get("file", ""),
        success=_lines(spec.get("success", "connected")),
        failure=_lines(spec.get("failure", "authentication failed")),
        probe=bool(spec.get("probe", True)),
        exits=spec.get("onReject", "exit") == "exit",
    )

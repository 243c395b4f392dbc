"""Small objects as the API server writes them, for the tests of decoding."""

from __future__ import annotations

import base64
import json
from typing import Any

from agent.fingerprint import Fingerprints

Object = dict[str, Any]
CREATED = "2026-11-23T22:00:00Z"
CREATED_AT = 1795471200.0
KEY = Fingerprints(b"artificial key of one install..", "k1")


def meta(name: str, **more: Any) -> Object:
    """Metadata of an object in the namespace ``shop``."""
    return {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-of-{name}",
        "resourceVersion": "7",
        "creationTimestamp": CREATED,
        **more,
    }


def page(*items: Any, **metadata: Any) -> bytes:
    """A list of these objects."""
    return json.dumps({"kind": "List", "metadata": {"resourceVersion": "9", **metadata}, "items": items}).encode()


def body(item: Object) -> bytes:
    """One object."""
    return json.dumps(item).encode()


def owned(kind: str, name: str, api_version: str) -> list[Object]:
    """ownerReferences to one controller."""
    return [{"apiVersion": api_version, "kind": kind, "name": name, "uid": f"uid-of-{name}", "controller": True}]


def pod(name: str = "backend-1", *, spec: Object | None = None, status: Object | None = None, **more: Any) -> Object:
    """A pod with one container, unless the spec says otherwise."""
    return {
        "metadata": meta(name, **more),
        "spec": {"nodeName": "node-1", "containers": [{"name": "app"}], **(spec or {})},
        "status": {"phase": "Running", **(status or {})},
    }


def secret(name: str = "app", data: dict[str, bytes] | None = None, **more: Any) -> Object:
    """A Secret with these values."""
    encoded = {key: base64.b64encode(value).decode() for key, value in (data or {}).items()}
    return {"metadata": meta(name, **more), "data": encoded, "type": "Opaque"}


def external_secret(
    name: str = "app", *, spec: Object | None = None, status: Object | None = None, **more: Any
) -> Object:
    """An ExternalSecret that reads one vault secret, unless the spec says otherwise."""
    default = {
        "secretStoreRef": {"name": "prod"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "db-password"}}],
    }
    metadata = meta(name, **{"generation": 2, **more})
    return {"metadata": metadata, "spec": {**default, **(spec or {})}, "status": status or {}}


def key_env(name: str, secret_name: str, key: str, **more: Any) -> Object:
    """An environment variable from a Secret's key."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key, **more}}}

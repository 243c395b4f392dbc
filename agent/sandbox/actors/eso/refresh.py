"""When ESO reads the vault: the refresh policies, and whether a Secret still is what ESO made of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.esohash import data_hash, synced_resource_version
from agent.sandbox.actors.eso.durations import seconds
from agent.sandbox.actors.eso.windows import periodic_refresh_allowed

Object = Mapping[str, Any]

MANAGED_LABEL = "reconcile.external-secrets.io/managed"
OWNER_LABEL = "reconcile.external-secrets.io/created-by"
HASH_ANNOTATION = "reconcile.external-secrets.io/data-hash"


def interval(external_secret: Object) -> float:
    """``spec.refreshInterval`` in seconds; the CRD's default is an hour."""
    return seconds(external_secret["spec"].get("refreshInterval") or "1h0m0s")


def refresh_time(external_secret: Object) -> float | None:
    """The begin of the last good sync, unix seconds."""
    text = (external_secret.get("status") or {}).get("refreshTime")
    if not text:
        return None
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def current_version(external_secret: Object) -> str:
    """The syncedResourceVersion that a sync of the ExternalSecret as it is now would leave."""
    metadata = external_secret["metadata"]
    return synced_resource_version(
        metadata.get("generation", 0), metadata.get("labels") or {}, metadata.get("annotations") or {}
    )


def should_refresh(external_secret: Object, now: float) -> bool:
    """Whether the vault is due to be read, whatever the Secret looks like."""
    policy = external_secret["spec"].get("refreshPolicy") or "Periodic"
    synced = (external_secret.get("status") or {}).get("syncedResourceVersion") or ""
    refreshed = refresh_time(external_secret)
    never = not synced or refreshed is None
    if policy == "CreatedOnce":
        return never
    if policy == "OnChange":
        return never or synced != current_version(external_secret)
    if interval(external_secret) <= 0 and synced:
        return False
    if synced != current_version(external_secret) or refreshed is None or refreshed > now:
        return True
    if refreshed + interval(external_secret) >= now:
        return False
    return periodic_refresh_allowed(external_secret["spec"].get("syncWindows"), now)


def is_secret_valid(secret: Object | None, external_secret: Object) -> bool:
    """Whether the Secret still is what ESO wrote, by its own marks: an Orphan always is, an absent one never."""
    if creation_policy(external_secret) == "Orphan":
        return True
    if secret is None:
        return False
    metadata = secret["metadata"]
    if (metadata.get("labels") or {}).get(MANAGED_LABEL) != "true":
        return False
    return (metadata.get("annotations") or {}).get(HASH_ANNOTATION) == data_hash(decoded_data(secret))


def next_look(external_secret: Object, now: float) -> float | None:
    """Seconds until the next periodic look; 0 is at once (with backoff), None never."""
    period = interval(external_secret)
    if period <= 0:
        return None
    refreshed = refresh_time(external_secret)
    if refreshed is None:
        return period
    since = now - refreshed
    return period - since if 0 <= since < period else 0.0


def decoded_data(secret: Object) -> dict[str, bytes]:
    """``data`` of a Secret, decoded."""
    return {key: base64.b64decode(value or "") for key, value in (secret.get("data") or {}).items()}


def creation_policy(external_secret: Object) -> str:
    """``spec.target.creationPolicy``; Owner by default."""
    return (external_secret["spec"].get("target") or {}).get("creationPolicy") or "Owner"


def deletion_policy(external_secret: Object) -> str:
    """``spec.target.deletionPolicy``; Retain by default."""
    return (external_secret["spec"].get("target") or {}).get("deletionPolicy") or "Retain"


def target_name(external_secret: Object) -> str:
    """The name of the Secret; the ExternalSecret's own by default."""
    name: str = (external_secret["spec"].get("target") or {}).get("name") or external_secret["metadata"]["name"]
    return name

"""When ESO has acknowledged a force-sync. Pure.

ESO stores in ``status.syncedResourceVersion`` the generation and a hash over all labels and annotations that the object
had when the sync began. So the value that our own annotation must lead to can be computed from the object as it is now,
and no clock is involved: once it is there with Ready=True, every value was fetched after the annotation was written.
"""

from __future__ import annotations

from agent import esohash
from agent.model import ExternalSecret

FORCE_SYNC = "force-sync"
"""The annotation. ESO refreshes on any change of metadata; this name is the one its own documentation uses."""


def in_sync(es: ExternalSecret) -> bool:
    """ESO's last good sync saw the object exactly as it is now, and nothing has failed since."""
    expected = esohash.synced_resource_version(es.generation, es.labels, es.annotations)
    return es.ready is True and es.synced_version == expected


def acknowledged(es: ExternalSecret, stamp: str) -> bool:
    """The sync that our annotation with this stamp asked for has succeeded."""
    return es.annotations.get(FORCE_SYNC) == stamp and in_sync(es)


def spec_applied(es: ExternalSecret) -> bool:
    """The last good sync was of the spec's present generation."""
    return es.synced_version.partition("-")[0] == str(es.generation)

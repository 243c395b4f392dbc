"""What ESO's last good sync proves of an ExternalSecret. Pure.

ESO stores in ``status.syncedResourceVersion`` the generation and a hash over all labels and annotations that the object
had when the sync began. So the value that our own annotation must lead to can be computed from the object as it is now
(``ExternalSecret.force_synced``), and no clock is involved: once it is there with Ready=True, every value was fetched
after the annotation was written.
"""

from __future__ import annotations

from agent.model import ExternalSecret


def acknowledged(es: ExternalSecret, stamp: str) -> bool:
    """The sync that our annotation with this stamp asked for has succeeded, and nothing has failed since."""
    return es.force_sync == stamp and es.force_synced and es.ready is True


def spec_applied(es: ExternalSecret) -> bool:
    """The last good sync was of the spec's present generation."""
    return es.synced_generation == es.generation


def failed_since(es: ExternalSecret, asked_at: float) -> bool:
    """Whether ESO began to fail after it was asked for a sync: so it is at work, and has answered.

    Its condition has whole seconds. One that failed before with the same words leaves its status as it is, and proves
    nothing.
    """
    return es.ready is False and es.ready_since is not None and es.ready_since >= int(asked_at)

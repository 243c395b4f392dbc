"""How fast the sandbox's nodes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Seconds of the world's clock, but where a field says otherwise. Defaults are small: a test waits for them."""

    start: float = 0.05
    """From reading the Secrets to the container's startedAt."""
    ready: float = 0.1
    """From the start to the application's first look at its value, and to readiness."""
    init: float = 0.05
    """How long an init container runs."""
    run: float = 0.2
    """How long a container runs that is meant to end (restartPolicy Never or OnFailure)."""
    termination: float = 0.05
    """From the deletion to the end of the pod, never more than its grace period."""
    image_pull: float = 0.0
    crash_backoff: float = 0.2
    """Before the second restart; it doubles with each further one. The first restart is immediate."""
    crash_backoff_max: float = 5.0
    backoff_reset: float = 600.0
    """A run that lasted so long ends the crash loop."""
    retry: float = 1.0
    """Between tries to configure a container or mount a volume; the appearance of a Secret cuts it short."""
    volume_lag: float = 0.3
    """From a Secret's change to the new content in plain volumes (a real kubelet: up to two minutes)."""
    pods_per_node: int = 110
    relaxed_environment_names: bool = False
    """Whether envFrom accepts names that begin with a digit, as kubelets since 1.34 do."""
    log_port: int | None = None
    """The port that the Node objects name for logs, for a real API server."""
    address: str = "127.0.0.1"
    """Where a real API server finds that port."""
    scheduler: str = "default-scheduler"
    """Pods that ask for another scheduler are others': they are neither placed nor run."""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """On each Node object, and as taints, so that a scheduler beside this one puts nothing there."""
    heartbeat: float | None = None
    """Between the signs of life of a node, for a cluster with a controller that waits for them."""

"""The nodes: which of them are ready, and which were away until a moment ago."""

from __future__ import annotations

from agent.model import Node

RETURNS = 30.0
"""Seconds that a kubelet which was not heard of has to say again which of its pods are ready."""

FIRST = 300.0
"""Seconds after its creation within which a node that is ready has not come back, but come."""


class Nodes(dict[str, Node]):
    """All nodes, by name."""

    def __init__(self) -> None:
        super().__init__()
        self._back: dict[str, float] = {}  # those that were away when they were seen last, or are new to us: since when
        self._ready: frozenset[str] | None = None

    def ready(self) -> frozenset[str]:
        """Those that are ready, and so are the kubelets' words about their containers."""
        if self._ready is None:
            self._ready = frozenset(node.name for node in self.values() if node.ready)
        return self._ready

    def returning_until(self, name: str) -> float:
        """Until when what is said of the readiness of a node's pods may be of the time when it was away."""
        return self._back[name] + RETURNS if name in self._back else 0.0

    def note(self, node: Node, seen_at: float) -> None:
        """A node was seen, before it is put: whether it has come back, and when.

        By what we saw; of one that is new to us, as after a start, by its own word: a kubelet's clock, not ours.
        """
        old = self.get(node.name)
        if node.ready and old is None and node.ready_since > max(seen_at - RETURNS, node.created + FIRST):
            self._back[node.name] = min(node.ready_since, seen_at)
        elif node.ready and old is not None and not old.ready:
            self._back[node.name] = seen_at

    def put(self, node: Node) -> bool:
        """One is there, or has changed; whether it is ready now and was not, or the other way."""
        old = self.get(node.name)
        self[node.name], self._ready = node, None
        return old is None or old.ready != node.ready

    def drop(self, node: Node) -> None:
        """One is gone."""
        self._ready = None
        self.pop(node.name, None)
        self._back.pop(node.name, None)

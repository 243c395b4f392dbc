"""What containers print: the lines of the present and of the previous run."""

from __future__ import annotations

Line = tuple[float, str]
"""World time and text."""


class Logs:
    """Lines by namespace, pod and container. A successor of the same name begins anew."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str], list[list[Line]]] = {}

    def begin(self, namespace: str, pod: str, container: str) -> None:
        """A run starts; only the one before it is kept."""
        runs = self._runs.setdefault((namespace, pod, container), [])
        runs.append([])
        del runs[:-2]

    def add(self, namespace: str, pod: str, container: str, at: float, line: str) -> None:
        self._runs.setdefault((namespace, pod, container), [[]])[-1].append((at, line))

    def read(self, namespace: str, pod: str, container: str, previous: bool) -> list[Line] | None:
        """The lines of a run; None where it has not been."""
        runs = self._runs.get((namespace, pod, container), [])
        index = 2 if previous else 1
        return list(runs[-index]) if len(runs) >= index else None

    def drop(self, namespace: str, pod: str) -> None:
        """The pod is gone, and its logs with it."""
        for key in [k for k in self._runs if k[:2] == (namespace, pod)]:
            del self._runs[key]

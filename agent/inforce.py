"""The policy of the agent that is installed, for a person's commands: what `scan` shows is what that agent judges."""

from __future__ import annotations

from typing import NamedTuple

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem
from agent.cluster.stored import read_stored
from agent.model import ObjectKey
from agent.policy import PolicyFile

CONFIG_MAP, KEY = "secret-drift-agent-policy", "policy.yaml"
"""By these names the manifests and the chart install it."""


class Installed(NamedTuple):
    """A policy, and where it comes from; or the package's own, and what is missing: one of the two is empty."""

    policy: PolicyFile
    place: str = ""
    missing: str = ""

    @property
    def word(self) -> str:
        """For the reader of the answers."""
        if self.place:
            return f"judged by the policy in {self.place}"
        rest = "by the policy of the package, which lists no vault and heals nothing; give yours by --policy FILE"
        return f"no --policy was given, and {self.missing}: judged {rest}"


def installed_policy(conn: Connection, agent_namespace: str) -> Installed:
    """That of the ConfigMap in the agent's namespace; where there is none to be had, the package's, which says so.

    Without it a command that is typed at night would judge by no vault at all, and find nothing. One request.
    Raises PolicyError, ApiProblem, Unreachable, BadAnswer.
    """
    key = ObjectKey(agent_namespace, CONFIG_MAP)
    place = f"ConfigMap {key}"
    try:
        stored = read_stored(conn, "configmaps", key)
    except ApiProblem as error:
        if error.code != 403:
            raise
        return Installed(PolicyFile(None), missing=f"{place} may not be read")
    if stored is None:
        return Installed(PolicyFile(None), missing=f"{place} does not exist")
    if KEY not in stored.data:
        return Installed(PolicyFile(None), missing=f"{place} has no {KEY}")
    return Installed(PolicyFile.of(stored.data[KEY].decode(errors="replace"), f"{place}, {KEY}"), place)

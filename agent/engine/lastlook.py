"""What is read again right before pods are touched: nothing disruptive rests on what only a watch has told.

A watch can be half-open for a minute and a half before anyone notices. So the vaults, the workload and the Secrets of
its chains are asked themselves, within the policy's `evidenceMaxAge`; what turns out to have changed is judged anew.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.cluster import reader
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable, trouble_of
from agent.engine.context import Context
from agent.engine.targets import Known, Targets
from agent.model import ExternalSecret, ObjectKey, SourceKey, Workload
from agent.plan.recycle import RecycleCase

COLLECTIONS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
AWAITED = 1.0
UNREAD = 5.0


class Later(NamedTuple):
    """Why a disruption is not carried out now; without a ``reason`` it is only judged anew."""

    seconds: float
    reason: str = ""
    detail: str = ""


class LastLook:
    """Asks the world whether it is as it was when a disruption was decided."""

    def __init__(self, context: Context, targets: Targets) -> None:
        self._context, self._targets = context, targets

    def before(self, case: RecycleCase) -> Later | None:
        """None: everything is as it was judged."""
        context = self._context
        judged = [chain for chain in case.chains if not chain.excluded]
        chains = [context.world.external_secrets[chain.report.chain] for chain in judged]
        # What is broken for long and holds the workload up no more is not waited for, nor asked where it may not.
        in_order = {chain.report.chain for chain in judged if not chain.report.upstream.holds_up}
        wanted = {
            source
            for es in chains
            if es.key in in_order
            for _, source in context.world.sources_of(es)
            if isinstance(source, SourceKey) and case.policy.vault_rule(source.vault, es.key.namespace)
        }
        if not context.look_again(wanted, oldest=case.now - case.policy.timing.evidence_max_age):
            return Later(AWAITED)
        return self._secrets(chains) or self._workload(case)

    def _secrets(self, chains: list[ExternalSecret]) -> Later | None:
        dirty = self._context.world.dirty_chains
        for es in chains:
            known = self._targets.read(es)
            if known is Known.UNREAD:
                detail = f"Secret {es.key.namespace}/{es.target} could not be read right before"
                return Later(UNREAD, "secret-unread", detail)
            if known is Known.LESS or es.key in dirty:
                return Later(0.1)
        return None

    def _workload(self, case: RecycleCase) -> Later | None:
        if case.workload is None:
            return None
        context, key = self._context, case.key
        collection = COLLECTIONS[key.kind]
        try:
            current = reader.get(context.conn, collection, ObjectKey(key.namespace, key.name))
        except (ApiProblem, Unreachable, BadAnswer) as error:
            return Later(UNREAD, "owner-unknown", f"{key.kind} {key} could not be read: {trouble_of(error).detail}")
        if isinstance(current, Workload) and current == case.workload:
            return None
        if isinstance(current, Workload):
            context.world.put(collection, current)
        else:
            context.world.drop(collection, case.workload)
        context.world.dirty_workloads.add(key)
        return Later(0.0)

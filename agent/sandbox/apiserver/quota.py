"""ResourceQuotas, as far as they count objects: what a namespace may hold of a kind."""

from __future__ import annotations

from agent.sandbox.apiserver.kinds import Kind, builtin
from agent.sandbox.apiserver.status import forbidden, qualified
from agent.sandbox.apiserver.store import Store

_QUOTAS = builtin("resourcequotas")
_OLD_NAMES = frozenset({"configmaps", "persistentvolumeclaims", "pods", "resourcequotas", "secrets", "services"})
"""Kinds that a quota may also count by their bare name."""


def check_quota(store: Store, kind: Kind, namespace: str, name: str) -> None:
    """Raise StatusError 403 where one object more of a kind is more than a quota of the namespace allows.

    Counted anew each time, dry-runs too, as the quota's admission does it; the status of a quota is not kept.
    """
    counted = f"count/{qualified(kind.group, kind.plural)}"
    names = (counted, kind.plural) if kind.plural in _OLD_NAMES and not kind.group else (counted,)
    for quota in store.scan(_QUOTAS, namespace) if kind.namespaced else ():
        hard = (quota.decoded().get("spec") or {}).get("hard") or {}
        used = sum(1 for _ in store.scan(kind, namespace))
        over = [each for each in names if each in hard and used + 1 > int(hard[each])]
        if over:
            counts = {"requested": "1", "used": str(used)}
            told = [f"{word}: {','.join(f'{each}={count}' for each in over)}" for word, count in counts.items()]
            told.append(f"limited: {','.join(f'{each}={hard[each]}' for each in over)}")
            raise forbidden(kind.group, kind.plural, name, f"exceeded quota: {quota.name}, {', '.join(told)}")

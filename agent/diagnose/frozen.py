"""What a Secret holds that ``target.immutable`` keeps as it was created. Pure.

ESO goes on fetching and says that it has synced, so its word does not tell. That a version is older or younger than the
Secret does; where the two are of the same moment, the order in which we caused and saw things may.
"""

from __future__ import annotations

from agent.diagnose.view import ChainView
from agent.memory import ChainMemory, SourceMemory
from agent.model import SourceKey
from agent.policy import Policy


def held(view: ChainView, key: SourceKey, source: SourceMemory, policy: Policy) -> bool | None:
    """Whether the Secret was written from the newest version of this source; None: that cannot be known.

    It was, where ESO had fetched that version before it wrote the Secret: by a force-sync, or as we saw before we
    deleted the former one. It was not, where the vault was asked after the Secret was there, and still had no such
    version. Else the clocks tell (the vault's and the API server's, whole seconds both), apart by more than the margin;
    and a version that we found beside its Secret, with neither seen to change, came before it if its time does. Where
    the vault had none before, and has one alone, there was no other to write.
    """
    secret, memory = view.secret, view.memory
    if secret is None:
        return None
    made, created, margin = secret.created, source.state.created, policy.margins.vault
    if created > made + margin or source.unseen_at > made + 1:
        return False
    if created + margin < made:
        return True
    identity = source.state.identity
    if _made_from(memory, secret.uid).get(str(key)) == identity:
        return True
    if memory.covered.get(str(key)) == identity and memory.covered_at < made:
        return True
    if (former := source.former) is not None and not former.state.present and source.earliest == created:
        return True
    return True if not source.witnessed and created <= made else None


def _made_from(memory: ChainMemory, uid: str) -> dict[str, str]:
    """What we had seen in the vaults before we deleted the former Secret, if this one came in its place."""
    if memory.recreate is not None and memory.recreate.uid != uid:
        return memory.recreate.seen
    return memory.made.holds if memory.made is not None and memory.made.uid == uid else {}

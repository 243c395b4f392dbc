"""The installation's key: what turns a value into a fingerprint that only this installation can make.

It lives in a Secret of the agent's own namespace. Lost or replaced, every fingerprint of before is unknown history, and
nothing is restarted for that. So a key's id is made of the key itself: who puts another key in its place, by hand or
from a backup, cannot leave the old id beside it.
"""

from __future__ import annotations

import hmac
import secrets as random
from typing import NamedTuple

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem, Conflict
from agent.cluster.stored import Stored, read_stored
from agent.cluster.writer import Writer
from agent.fingerprint import Fingerprints
from agent.model import ObjectKey

NAME = "secret-drift-agent-key"
SHORTEST = 32
"""Bytes of a key; what is shorter is none, and a new one takes its place."""
LABELS = {"app.kubernetes.io/name": "secret-drift-agent", "app.kubernetes.io/component": "ledger"}


class Installation(NamedTuple):
    """The key, and whether it was there before: a new one means that no former fingerprint can be compared."""

    fingerprints: Fingerprints
    key_id: str
    found: bool
    denied: bool = False  # it may be there, but this identity may not read it


def installation_key(conn: Connection, namespace: str, writer: Writer | None) -> Installation:
    """Read the key, or make one. Without a writer (a read-only command) one that lasts for this process, also where
    the key may not be read.

    Raises ApiProblem, Unreachable, BadAnswer.
    """
    place = ObjectKey(namespace, NAME)
    denied = False
    try:
        stored = read_stored(conn, "secrets", place)
    except ApiProblem as error:
        if writer is not None or error.code != 403:
            raise
        stored, denied = None, True
    if stored is not None and len(stored.data.get("key", b"")) >= SHORTEST:
        return _installation(stored, found=True)
    fresh = Stored(
        kind="secrets",
        key=place,
        data={"key": random.token_bytes(SHORTEST)},
        labels=LABELS,
        resource_version=stored.resource_version if stored else "",
        uid=stored.uid if stored else "",
    )
    if writer is None:
        return _installation(fresh, found=False)._replace(denied=denied)
    try:
        made = writer.replace_stored(fresh) if stored else writer.create_stored(fresh)
    except Conflict:
        return installation_key(conn, namespace, writer)  # another process was first: its key is the key
    return _installation(made, found=False)


def key_id_of(key: bytes) -> str:
    """What tells this key from any other, and nothing about it: eight hex digits."""
    return hmac.digest(key, b"the id of this key", "sha256").hex()[:8]


def _installation(stored: Stored, *, found: bool) -> Installation:
    key = stored.data["key"]
    return Installation(Fingerprints(key, key_id_of(key)), key_id_of(key), found)

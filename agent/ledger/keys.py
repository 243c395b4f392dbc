"""The installation's key: what turns a value into a fingerprint that only this installation can make.

It lives in a Secret of the agent's own namespace. Lost or replaced, every fingerprint of before is unknown history, and
nothing is restarted for that.
"""

from __future__ import annotations

import secrets as random
from typing import NamedTuple

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem, Conflict
from agent.cluster.stored import Stored, read_stored
from agent.cluster.writer import Writer
from agent.fingerprint import Fingerprints
from agent.model import ObjectKey

NAME = "secret-drift-agent-key"
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
    if stored is not None and len(stored.data.get("key", b"")) >= 32 and stored.data.get("id"):
        return _installation(stored, found=True)
    fresh = Stored(
        kind="secrets",
        key=place,
        data={"key": random.token_bytes(32), "id": random.token_hex(4).encode()},
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


def _installation(stored: Stored, *, found: bool) -> Installation:
    key_id = stored.data["id"].decode("ascii", "replace")
    return Installation(Fingerprints(stored.data["key"], key_id), key_id, found)

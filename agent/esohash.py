"""The marks that External Secrets Operator derives from names, metadata and data, as pure formulas.

With them one can tell from the outside whether ESO has seen a change (``synced_resource_version``), whether somebody
else wrote the data (``data_hash``) and which ExternalSecret owns a Secret (``created_by``, ``field_manager``). All of
them hash the text that Go's ``%+v`` prints with SHA3-224. They hold for ESO 0.16.2 and later; before, the hash was MD5
(32 digits instead of 56).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha3_224

_MANAGER = "externalsecrets.external-secrets.io/"
_MANAGER_LIMIT = 63
_DECIMAL = tuple(map(str, range(256)))


def synced_resource_version(generation: int, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """What ``status.syncedResourceVersion`` of an ExternalSecret will be once ESO has synced it in this state."""
    text = f"{{annotations:{_go_map(annotations)} labels:{_go_map(labels)}}}"
    return f"{generation}-{_hash(text)}"


def data_hash(data: Mapping[str, bytes]) -> str:
    """What ESO writes into the annotation ``reconcile.external-secrets.io/data-hash`` beside this data (decoded)."""
    texts = {key: f"[{' '.join([_DECIMAL[byte] for byte in value])}]" for key, value in data.items()}
    return _hash(_go_map(texts))


def created_by(namespace: str, name: str) -> str:
    """The label ``reconcile.external-secrets.io/created-by`` of a Secret that this ExternalSecret owns."""
    return _hash(f"{namespace}/{name}")


def field_manager(name: str) -> str:
    """The manager under which ESO writes the Secret of the ExternalSecret ``name``.

    The name is hashed when the whole string would exceed 63 characters, that is for names of more than 27.
    """
    manager = _MANAGER + name
    return manager if len(manager.encode()) <= _MANAGER_LIMIT else f"{_MANAGER}sha3/{_hash(name)}"


def _go_map(entries: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{entries[key]}' for key in sorted(entries))}]"


def _hash(text: str) -> str:
    return sha3_224(text.encode()).hexdigest()

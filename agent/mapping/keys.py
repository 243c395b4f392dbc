"""How ESO's Azure provider reads ``remoteRef.key``."""

from __future__ import annotations

import re

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class BadKey(ValueError):
    """Not a secret of a vault; the text says why and never repeats what was written."""


def vault_secret(key: str) -> str:
    """Name of the vault secret, in lower case since Key Vault compares names so.

    ``NAME`` and ``secret/NAME`` are the same; what follows a further slash is ignored, as ESO ignores it. Raises BadKey
    for certificates and keys, which live in other collections of the vault, and for what no vault can hold.
    """
    collection, slash, rest = key.partition("/")
    name = rest.partition("/")[0] if slash else collection
    if slash and collection in ("cert", "key"):
        kind = "certificate" if collection == "cert" else "key"
        raise BadKey(f"reads a {kind} object of the vault; only secrets are followed")
    if slash and collection != "secret":
        raise BadKey("has an object type that ESO does not know (secret, cert and key it knows)")
    if not _NAME.fullmatch(name):
        raise BadKey("is no name that a vault secret can have (1 to 127 letters, digits and dashes)")
    return name.lower()

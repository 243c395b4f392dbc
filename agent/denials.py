"""Who lacks which right, out of Azure's words. Pure.

Those words come from a vault's answer, or from an Event that any tenant can forge, and whoever writes them can put a
value into them. So nothing is repeated but what has the form of an identity, or is one of the rights that there are.
"""

from __future__ import annotations

import re

_APPLICATION = re.compile(r"\bappid=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![\w-])", re.IGNORECASE)
_VERBS = "backup|delete|get|list|purge|recover|restore|set"
_PERMISSION = re.compile(rf"does not have (secrets (?:{_VERBS})) permission")
_ACTIONS = "backup|getSecret|purge|readMetadata|recover|restore|setSecret|update"
_ACTION = re.compile(rf"'(Microsoft\.KeyVault/vaults/secrets/(?:delete|(?:{_ACTIONS})/action))'")


def application(text: str) -> str:
    """The id of the application that is denied; empty where the text has none."""
    found = _APPLICATION.search(text)
    return found[1] if found else ""


def right(text: str) -> str:
    """The right that is missing: an action of RBAC, or a permission of an access policy; empty where none is named."""
    found = _ACTION.search(text) or _PERMISSION.search(text)
    return found[1] if found else ""

"""Asks the vaults for one entry of their lists, each in a thread of its own, and says as whom."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from agent.clock import Clock
from agent.doctor.facts import Identity, Offset, Vault
from agent.policy import Policy
from agent.vault.client import VaultClient
from agent.vault.credentials import CredentialKind, chosen

PATIENCE = 15.0
"""Seconds for each vault; all are asked at the same time."""
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
MakeVault = Callable[[str, float], VaultClient]


def identity(kind: CredentialKind, env: Mapping[str, str] = os.environ) -> Identity:
    """Who we say that we are. Ids are public; whatever has not the form of one is left out."""
    which = chosen(kind, env)
    if which == "cli":
        return Identity(kind="the Azure CLI's login")
    client, tenant = (_id(env.get(name, "")) for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID"))
    if which == "managed-identity":
        return Identity(kind="managed identity" if client else "the machine's managed identity", client=client)
    return Identity(kind=which.replace("-", " "), client=client, tenant=tenant)


def look_at(hosts: Mapping[str, tuple[str, ...]], policy: Policy, make: MakeVault, clock: Clock) -> list[Vault]:
    """One entry of each vault's list. ``hosts``: host -> the stores that name it."""

    def knock(host: str) -> Vault:
        rates = [rule.requests_per_second for rule in policy.vaults if rule.host == host]
        client = make(host, rates[0] if rates else 20.0)
        trouble = client.knock(clock.monotonic() + PATIENCE)
        by_role = trouble is None or not trouble.detail.endswith("(AccessDenied)")
        offset = _offset(client, clock)
        client.close()
        return Vault(host=host, stores=hosts[host], trouble=trouble, by_role=by_role, offset=offset)

    with ThreadPoolExecutor(8, "vault") as pool:
        return list(pool.map(knock, hosts))


def _offset(client: VaultClient, clock: Clock) -> Offset | None:
    theirs = client.clock_bounds()
    if theirs is None or not clock.knows_server:
        return None
    low, high = clock.server_bounds()
    return Offset(theirs[0] - high, theirs[1] - low)


def _id(text: str) -> str:
    return text if _ID.fullmatch(text) else ""

"""The vaults: which may be looked at, as whom, and what keeps us out. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable

from agent import mapping
from agent.doctor.facts import Identity, Stores, Vault
from agent.doctor.lines import Line, State
from agent.model import SecretStore, StoreKey, Trouble
from agent.policy import Policy

ROLE = "Key Vault Reader"
_APPLICATION = re.compile(r"application ([0-9a-f-]{36}) ")
_ADDRESS = re.compile(r"it sees us as ([0-9a-f.:]+)")
_MOST_STORES = 3


def to_look_at(stores: Stores, policy: Policy) -> dict[str, tuple[str, ...]]:
    """Vault host -> the stores that name it, of those that the policy lets us look at."""
    found: dict[str, list[str]] = {}
    for store in stores if not isinstance(stores, Trouble) else ():
        if not mapping.excluded_by_store(store) and _allowed(store, policy):
            found.setdefault(store.host, []).append(said_of(store.key))
    return {host: tuple(names) for host, names in sorted(found.items())}


def said_of(key: StoreKey) -> str:
    """``SecretStore shop/vault``, ``ClusterSecretStore vault``."""
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"


def store_lines(stores: Stores, policy: Policy) -> list[Line]:
    """Stores whose vault is not looked at, and vaults of the policy that no store names."""
    if isinstance(stores, Trouble):
        return [_line("stores", "not-checked", f"SecretStores cannot be read: {stores.detail}")]
    apart: dict[str, list[str]] = {}
    for store in stores:
        if mapping.excluded_by_store(store):
            continue
        if store.refused or not store.host:
            apart.setdefault(f"{store.refused or 'it names no vault'}, so no request is sent there", []).append(
                said_of(store.key)
            )
        elif not _allowed(store, policy):
            apart.setdefault(f"{store.host} is not in the policy's vaults, so it is not looked at", []).append(
                said_of(store.key)
            )
    lines = [_line("stores", "note", f"{_some(names)}: {why}") for why, names in sorted(apart.items())]
    named = {store.host for store in stores}
    for host in sorted({rule.host for rule in policy.vaults} - named):
        lines.append(_line(host.partition(".")[0], "note", "in the policy, but no SecretStore in reach names it"))
    if not stores:
        lines.append(_line("stores", "note", "there is no SecretStore in reach: nothing is synced from a vault"))
    return lines


def identity_line(identity: Identity) -> Line:
    """As whom we look; that a token can be had is proved by each vault's own line."""
    if identity.problem:
        todo = "set the variables, or choose another --vault-credential"
        return _line("identity", "error", identity.problem, todo)
    parts = [identity.kind]
    parts += [f"client {identity.client}"] if identity.client else []
    parts += [f"tenant {identity.tenant}"] if identity.tenant else []
    return _line("identity", "ok", ", ".join(parts))


def vault_line(vault: Vault, identity: Identity) -> Line:
    """What came of one page of the vault's list."""
    if vault.trouble is None:
        return _line(vault.name, "ok", f"token obtained, list answered ({_some(vault.stores)})")
    state, todo, commands = _ADVICE.get(vault.trouble.cause, _unexpected)(vault, identity)
    return _line(vault.name, state, vault.trouble.detail, todo, *commands)


Advice = tuple[State, str, tuple[str, ...]]


def _denied(vault: Vault, identity: Identity) -> Advice:
    who = shlex.quote(_client(vault, identity) or "CLIENT_ID")
    if not vault.by_role:
        command = f"az keyvault set-policy --name {vault.name} --spn {who} --secret-permissions list"
        return (
            "error",
            "this vault goes by access policies: let our identity list secrets, and nothing more",
            (command,),
        )
    scope = f'"$(az keyvault show --name {vault.name} --query id --output tsv)"'
    command = f'az role assignment create --role "{ROLE}" --assignee {who} --scope {scope}'
    return "error", f"grant our identity the role {ROLE}, with which no value can be read", (command,)


def _shut_out(vault: Vault, _: Identity) -> Advice:
    seen = _ADDRESS.search(vault.trouble.detail if vault.trouble else "")
    todo = "let us in by the vault's network rules, or reach it by a private endpoint"
    address = f" --ip-address {seen[1]}/32" if seen and "." in seen[1] else ""
    commands = (f"az keyvault network-rule add --name {vault.name}{address}",) if address else ()
    return "error", todo, commands


def _throttled(_: Vault, __: Identity) -> Advice:
    return "warning", "try again in a minute; lower requestsPerSecond of its rule if it comes back", ()


def _no_token(_: Vault, identity: Identity) -> Advice:
    return "error", f"see why {identity.kind} gives no token, or choose another --vault-credential", ()


def _unauthorized(_: Vault, identity: Identity) -> Advice:
    tenant = f"tenant {identity.tenant}" if identity.tenant else "the tenant of our identity"
    return "error", f"check that the vault belongs to {tenant}", ()


def _not_there(vault: Vault, _: Identity) -> Advice:
    return "error", "check the vault's name in the SecretStore, and the DNS", (f"az keyvault show --name {vault.name}",)


def _out_of_reach(_: Vault, __: Identity) -> Advice:
    return (
        "error",
        "check the network to it: egress rules, proxy, private endpoint, the authority of its certificate",
        (),
    )


def _unexpected(_: Vault, __: Identity) -> Advice:
    return "error", "see whether something stands between us and the vault", ()


_ADVICE: dict[str, Callable[[Vault, Identity], Advice]] = {
    "access-denied": _denied,
    "forbidden-by-firewall": _shut_out,
    "throttled": _throttled,
    "credential": _no_token,
    "unauthorized": _unauthorized,
    "host-not-found": _not_there,
    "unreachable": _out_of_reach,
    "server-error": _throttled,
    "deadline": _out_of_reach,
}


def _client(vault: Vault, identity: Identity) -> str:
    found = _APPLICATION.search(vault.trouble.detail if vault.trouble else "")
    return found[1] if found else identity.client


def _allowed(store: SecretStore, policy: Policy) -> bool:
    if not store.host:
        return False
    if store.key.namespace:
        return policy.vault_rule(store.host, store.key.namespace) is not None
    return any(rule.host == store.host for rule in policy.vaults)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _MOST_STORES} more" if len(names) > _MOST_STORES else ""
    return f"{', '.join(names[:_MOST_STORES])}{more}"


def _line(name: str, state: State, said: str, todo: str = "", *commands: str) -> Line:
    return Line(area="vaults", name=name, state=state, said=said, todo=todo, commands=commands)

"""What to do about what keeps ESO from syncing, in one line for a person."""

from __future__ import annotations

REMEDIES = {
    "access-denied": "grant ESO's identity read access to secrets (role Key Vault Secrets User) on the vault",
    "forbidden-by-firewall": "let ESO's network through the vault's firewall",
    "not-found": "recover or create the secret in the vault, or correct remoteRef.key",
    "disabled": "enable the newest version, or set a new one",
    "throttled": "the vault is throttling: nothing to do unless it lasts",
    "unreachable": "look at the network between ESO and the vault",
    "store": "look at the SecretStore that the ExternalSecret names",
    "immutable-target": "delete the Secret by hand: ESO writes it anew",
    "not-owned": "another ExternalSecret owns the Secret",
    "key": "correct remoteRef.key",
    "property": "correct remoteRef.property, or the vault secret's JSON",
    "credential": "ESO cannot get a token: look at its identity",
    "stuck": "allow the step recreate for this namespace, or delete the Secret by hand: ESO writes it anew",
    "immutable-in-doubt": "rotate it once more, or delete the Secret by hand: ESO writes it anew",
    "unknown": "kubectl describe externalsecret shows ESO's own words",
}
"""What to do about a failed sync, by cause."""

ENDS_TRYING = frozenset({"immutable-target", "not-owned"})
"""Causes after which ESO itself does not try again: it takes a failure of the target for final."""

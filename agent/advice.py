"""What a person can do where something is in the way, by its cause. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_STEPS = {
    "forbidden": "grant this identity the right, or narrow the command by --namespace; `doctor` names the commands",
    "unauthorized": "renew the credentials of the kubeconfig: the API server does not accept them (any more)",
    "unreachable": "check the network, or choose another --context",
    "no-eso": "install ESO 0.16.2 or later with its CustomResourceDefinitions; `doctor` names the commands",
    "access-denied": "grant this identity Key Vault Reader on the vault, or see --vault-credential",
    "credential": "see --vault-credential",
    "throttled": "try again in a minute",
}
_AT_A_VAULT = {
    "unreachable": "let this pod reach the vault and the login host: NetworkPolicy, firewall, private endpoint",
    "unauthorized": "see --vault-credential",
}
"""Where it is something else than at the API server."""
_QUOTA = re.compile(r"exceeded quota: (\S+)")


def step(cause: str, detail: str = "", subject: str = "") -> str:
    """What to do next about a Trouble of a subject; empty where nothing general can be said."""
    if subject.startswith("vault "):
        if cause == "unreachable" and "TLS to " in detail:
            return "trust the authority of who answers there: SSL_CERT_FILE or REQUESTS_CA_BUNDLE name its file"
        return _AT_A_VAULT.get(cause) or _STEPS.get(cause, "")
    if cause in ("unreachable", "certificate") and detail.startswith("TLS to "):
        if "certificate has expired" in detail:
            return "renew the certificate of the API server, or set this machine's clock"
        return "check certificate-authority and server in the kubeconfig, and tls-server-name"
    return _STEPS.get(cause, "")


def no_eso(versions: Sequence[str], lacking: Sequence[str] = ()) -> str:
    """What is wrong with what is served of ``external-secrets.io``: its versions, and what v1 has not."""
    if not versions:
        return "not installed: external-secrets.io is not served"
    if "v1" not in versions:
        return f"too old: external-secrets.io is served as {', '.join(versions)} only, and v1 is needed"
    return f"incomplete: external-secrets.io/v1 has no {', '.join(lacking)}"


def together(troubles: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Subjects that share a cause and a place, as one: ``pods, nodes in all namespaces``, each with the first of them.

    ``troubles``: (subject, cause). What is not in a place stands for itself.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for subject, cause in troubles:
        _, _, place = subject.partition(" in ")
        groups.setdefault((cause, place or subject), []).append(subject)
    named = []
    for (_, place), subjects in groups.items():
        names = [subject.partition(" in ")[0] for subject in subjects]
        named.append((f"{', '.join(names)} in {place}" if subjects[0] != place else place, subjects[0]))
    return named


def quota_of(detail: str) -> str:
    """The ResourceQuota that an error of the API server names; empty if it is none."""
    found = _QUOTA.search(detail)
    return found[1].rstrip(",.;") if found else ""


def quota_step(namespace: str, quota: str) -> str:
    """What to do about a quota that keeps the ledger from its objects."""
    return f"raise ResourceQuota {quota} in namespace {namespace}: the ledger needs a few ConfigMaps and Secrets there"


def home_step(code: int, message: str, namespace: str) -> str:
    """What to do where the API server refuses what the agent does in its own namespace."""
    if quota := quota_of(message):
        return quota_step(namespace, quota)
    if code == 401:
        return _STEPS["unauthorized"]
    if code == 404 and "namespaces" in message:
        return f"create it (kubectl create namespace {namespace}), or name another by --agent-namespace"
    if "being terminated" in message:
        return f"wait until namespace {namespace} is gone, and create it anew; or name another by --agent-namespace"
    if code == 403:
        return f"let this identity keep its ledger in namespace {namespace}: `doctor` names the commands"
    return "try again; `doctor` tells more"

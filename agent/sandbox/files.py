"""The files by which others find a world: a kubeconfig, the authority to trust, and the agent's environment."""

from __future__ import annotations

import base64
import os
import shlex
from pathlib import Path

import yaml

from agent.sandbox.world import AGENT_NAMESPACE, Sandbox

CONTEXT = "sandbox"


def environment(sandbox: Sandbox, directory: Path) -> dict[str, str]:
    """The variables that lead an agent to this world, given the files that ``write_files`` puts into the directory."""
    directory = directory.resolve()
    ca = str(directory / "ca.pem")
    return {
        "KUBECONFIG": str(directory / "kubeconfig"),
        "SECRET_DRIFT_AGENT_NAMESPACE": AGENT_NAMESPACE,
        "SECRET_DRIFT_AGENT_VAULT_CONNECT_TO": f"127.0.0.1:{sandbox.vaults.port}",
        "REQUESTS_CA_BUNDLE": ca,
        "SSL_CERT_FILE": ca,
        "AZURE_TENANT_ID": sandbox.vaults.tenant,
        "AZURE_CLIENT_ID": "agent",
        "AZURE_FEDERATED_TOKEN_FILE": str(directory / "federated-token"),
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }


def write_files(sandbox: Sandbox, directory: Path) -> dict[str, str]:
    """Write ``kubeconfig``, ``ca.pem``, ``federated-token`` and ``env`` (shell); returns the environment.

    The directory is made if need be. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    variables = environment(sandbox, directory)
    (directory / "ca.pem").write_bytes(sandbox.authority.pem)
    private(directory / "kubeconfig", kubeconfig(sandbox))
    private(directory / "federated-token", sandbox.assertion)
    (directory / "env").write_text(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    )
    return variables


def kubeconfig(sandbox: Sandbox, user: str = "agent") -> str:
    """A kubeconfig with one context, ``sandbox``, for one of the world's users."""
    ca = base64.b64encode(sandbox.url_authority).decode()
    cluster = {"server": sandbox.url, "certificate-authority-data": ca}
    context = {"cluster": CONTEXT, "user": user, "namespace": AGENT_NAMESPACE}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": sandbox.tokens[user]}}],
        "contexts": [{"name": CONTEXT, "context": context}],
        "current-context": CONTEXT,
    }
    return yaml.safe_dump(document, sort_keys=False)


def private(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)

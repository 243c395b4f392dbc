"""Which identity the agent shows to Entra ID.

`DefaultAzureCredential` is not used: it probes one source after the other and hides which one answered. Here the choice
is made once, from the environment, in an order that is written down.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Literal, get_args

import requests
from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import (
    AzureCliCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from agent.vault.connect_to import environment_address, session
from agent.vault.trouble import CredentialProblem

CredentialKind = Literal["auto", "workload-identity", "managed-identity", "cli", "environment"]
KINDS: tuple[str, ...] = get_args(CredentialKind)

_WORKLOAD = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
_ENVIRONMENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")
_ENVIRONMENT_PROOFS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH")
_PROXIES = ("HTTPS_PROXY", "ALL_PROXY")
_MANAGED_HINTS = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "KUBERNETES_SERVICE_HOST")


def chosen(kind: CredentialKind, env: Mapping[str, str] = os.environ) -> CredentialKind:
    """What ``auto`` means here; any other kind is itself.

    In this order: workload identity, if its webhook set AZURE_TENANT_ID, AZURE_CLIENT_ID and
    AZURE_FEDERATED_TOKEN_FILE; environment, if AZURE_TENANT_ID and AZURE_CLIENT_ID come with AZURE_CLIENT_SECRET or
    AZURE_CLIENT_CERTIFICATE_PATH; managed identity, if an identity endpoint is announced or this is a pod; the Azure
    CLI's login.
    """
    if kind != "auto":
        return kind
    if all(env.get(name) for name in _WORKLOAD):
        return "workload-identity"
    if all(env.get(name) for name in _ENVIRONMENT) and any(env.get(name) for name in _ENVIRONMENT_PROOFS):
        return "environment"
    return "managed-identity" if any(env.get(name) for name in _MANAGED_HINTS) else "cli"


def open_session(env: Mapping[str, str] = os.environ) -> requests.Session:
    """The session that all vaults and the credential share.

    ``SECRET_DRIFT_AGENT_VAULT_CONNECT_TO`` leads its connections elsewhere; REQUESTS_CA_BUNDLE or SSL_CERT_FILE name
    the authorities to trust, HTTPS_PROXY or ALL_PROXY a proxy. Raises WrongAddress.
    """
    ca_bundle = env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or env.get("SSL_CERT_FILE") or None
    http = session(environment_address(env), ca_bundle=ca_bundle)
    # Without a proxy there is nothing to look up in the environment; looking anyway is a third of a request's cost.
    http.trust_env = any(env.get(name) or env.get(name.lower()) for name in _PROXIES)
    return http


def credential(kind: CredentialKind, http: requests.Session, env: Mapping[str, str] = os.environ) -> TokenCredential:
    """A credential that asks for its tokens through ``http``. Sends nothing yet.

    ``env`` decides and is checked; the Azure libraries themselves read the process's environment.
    Raises CredentialProblem naming the variables that are missing, or cannot be used.
    """
    # Their warnings quote whole answers of the login host; what matters of them is told as a Trouble.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    transport = RequestsTransport(session=http, session_owner=False, connection_timeout=5, read_timeout=10)
    which = chosen(kind, env)
    try:
        return _made(which, transport, env)
    except (ValueError, OSError) as error:  # their words may quote a setting, and one of the settings is a secret
        names = ", ".join(name for name in (*_ENVIRONMENT, *_ENVIRONMENT_PROOFS, *_WORKLOAD[2:]) if env.get(name))
        raise CredentialProblem(
            f"credential {which} cannot be made of {names or 'this environment'} ({type(error).__name__})"
        ) from None


def _made(kind: CredentialKind, transport: RequestsTransport, env: Mapping[str, str]) -> TokenCredential:
    match kind:
        case "workload-identity":
            _require(env, _WORKLOAD, "workload-identity")
            return WorkloadIdentityCredential(transport=transport, retry_total=0)
        case "environment":
            _require(env, _ENVIRONMENT, "environment")
            if not any(env.get(name) for name in _ENVIRONMENT_PROOFS):
                raise CredentialProblem(f"credential environment needs {' or '.join(_ENVIRONMENT_PROOFS)}")
            return EnvironmentCredential(transport=transport, retry_total=0)
        case "managed-identity":
            # The identity endpoint is plain http on a link-local address; its own transport keeps it off our session.
            return ManagedIdentityCredential(client_id=env.get("AZURE_CLIENT_ID") or None)
        case _:
            return AzureCliCredential(process_timeout=15)


def _require(env: Mapping[str, str], names: tuple[str, ...], kind: str) -> None:
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise CredentialProblem(f"credential {kind} needs {', '.join(missing)} in the environment")

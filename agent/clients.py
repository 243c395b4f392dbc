"""The clients that a command line asks for: of the API server, and of the vaults."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable

from agent import __version__
from agent.clock import Clock
from agent.cluster.connection import Connection, OnRequest, connect
from agent.report.metrics import Metrics
from agent.vault.client import VaultClient
from agent.vault.credentials import credential, open_session


def connection(arguments: argparse.Namespace, clock: Clock, on_request: OnRequest | None = None) -> Connection:
    """The connection that the arguments ask for. Sends nothing yet. Raises ConnectionProblem."""
    return connect(
        arguments.kubeconfig, arguments.context, clock=clock, on_request=on_request,
        user_agent=f"secret-drift-agent/{__version__} (python {platform.python_version()})",
    )  # fmt: skip


def vault_maker(arguments: argparse.Namespace, clock: Clock, metrics: Metrics) -> Callable[[str, float], VaultClient]:
    """Makes the client of one vault; all share one session and one identity. Raises CredentialProblem, WrongAddress."""
    http = open_session()
    identity = credential(arguments.vault_credential, http)
    # Names of other secrets are for whoever sits at the terminal, not for the log of a pipeline.
    nearest = arguments.command == "explain" and arguments.output == "tree" and sys.stdout.isatty()

    def make(host: str, requests_per_second: float) -> VaultClient:
        metrics.vault_limit(host, requests_per_second)
        return VaultClient(
            host, identity, session=http, clock=clock, requests_per_second=requests_per_second,
            on_request=metrics.vault_request, nearest=nearest,
        )  # fmt: skip

    return make

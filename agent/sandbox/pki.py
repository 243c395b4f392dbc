"""The certificate authority of all worlds of a process."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass, field

import trustme

NAMES = (
    "127.0.0.1", "localhost", "*.vault.azure.net", "login.microsoftonline.com", "*.vault.azure.cn",
    "login.chinacloudapi.cn",
)  # fmt: skip
"""What every server of a world is called: its API server by address, its vaults and login host by their real names."""


@dataclass(frozen=True)
class Authority:
    """One certificate authority, and a certificate of it for all names. The contexts may be shared by many servers."""

    pem: bytes
    """The authority's own certificate."""
    server: ssl.SSLContext = field(repr=False)
    client: ssl.SSLContext = field(repr=False)
    """Trusts this authority and no other."""


@functools.cache
def authority() -> Authority:
    """The authority of this process, made on the first call: keys are the slowest part of a world's start."""
    ca = trustme.CA(organization_name="secret-drift-agent sandbox")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*NAMES).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(client)
    return Authority(ca.cert_pem.bytes(), server, client)

"""The certificate authority of all worlds of a process."""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trustme

NAMES = (
    "127.0.0.1", "localhost", "*.vault.azure.net", "login.microsoftonline.com", "*.vault.azure.cn",
    "login.chinacloudapi.cn",
)  # fmt: skip
"""What every server of a world is called: its API server by address, its vaults and login host by their real names."""


_NAME = "secret-drift-agent sandbox"
_kept: list[trustme.CA] = []


@dataclass(frozen=True)
class Authority:
    """One certificate authority, and a certificate of it for all names. The contexts may be shared by many servers."""

    pem: bytes
    """The authority's own certificate."""
    server: ssl.SSLContext = field(repr=False)
    client: ssl.SSLContext = field(repr=False)
    """Trusts this authority and no other."""


def keep(directory: Path) -> None:
    """Let this process use the authority that lasts in a directory; it is made there if need be. Raises OSError.

    For whoever is told long before a world begins which authority to trust. To be called before ``authority``.
    """
    certificate, key = directory / "ca.pem", directory / "ca.key"
    if not key.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = trustme.CA(organization_name=_NAME)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made.private_key_pem.bytes())
        certificate.write_bytes(made.cert_pem.bytes())
    _kept.append(trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes()))


@functools.cache
def authority() -> Authority:
    """The authority of this process, made on the first call: keys are the slowest part of a world's start."""
    ca = _kept[-1] if _kept else trustme.CA(organization_name=_NAME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*NAMES).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(client)
    return Authority(ca.cert_pem.bytes(), server, client)

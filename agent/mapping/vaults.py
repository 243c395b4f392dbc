"""Which vault URLs the agent may ever send a request to.

A SecretStore is written by a tenant; a URL in it must not become a way to make the agent talk to a host of the
tenant's choice. Only https, the usual port, and a single label under a cloud's own vault suffix pass.
"""

from __future__ import annotations

import re

SUFFIXES = ("vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn", "vault.microsoftazure.de")
"""Vault DNS suffixes of the public, US government, China and Germany clouds."""

_VAULT = re.compile(
    r"https://([a-z](?:[a-z0-9-]{0,22}[a-z0-9])?\.(?:" + "|".join(map(re.escape, SUFFIXES)) + r"))(?::443)?/?",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"https://([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"[0-9.]+|\[.*\]|0x[0-9a-f]+", re.IGNORECASE)


def vault_host(url: str) -> tuple[str, str]:
    """``(host, "")`` in lower case, or ``("", why the URL is not followed)``. The reason never repeats the URL."""
    if url.isascii() and (match := _VAULT.fullmatch(url)):
        return match[1].lower(), ""
    return "", _why(url)


def _why(url: str) -> str:
    if not url:
        return "vaultUrl is missing"
    if not (split := _AUTHORITY.fullmatch(url)):
        return "vaultUrl is not https"
    authority, rest = split.groups()
    if "@" in authority:
        return "vaultUrl carries user information"
    host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    host, port = (host, port) if colon else (authority, "")
    if _ADDRESS.fullmatch(host):
        return "vaultUrl is an IP address"
    if port not in ("", "443"):
        return "vaultUrl has a port other than 443"
    if not host.lower().endswith(tuple("." + suffix for suffix in SUFFIXES)):
        return "vaultUrl is a host outside Azure Key Vault"
    if rest not in ("", "/"):
        return "vaultUrl has more than a host"
    return "vaultUrl is no name that a vault can have"

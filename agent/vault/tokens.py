"""Keeps what goes wrong with a token apart from what goes wrong with a vault.

Both happen inside one call of the SDK, and both as the same exceptions: without this, a login host that does not answer
would be told as a vault that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from azure.core.credentials import AccessToken, AccessTokenInfo, SupportsTokenInfo, TokenCredential, TokenRequestOptions

T = TypeVar("T")


class TokenFailure(Exception):
    """No token could be had; ``__cause__`` is the library's error."""


class Tokens:
    """A credential whose failures are TokenFailures. They pass through the SDK's pipeline as they are."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: object,
    ) -> AccessToken:
        """As the credential's own. Raises TokenFailure."""
        ask = self._credential.get_token
        return _guarded(lambda: ask(*scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **options))

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As the credential's own. Raises TokenFailure."""
        credential = self._credential
        if not isinstance(credential, SupportsTokenInfo):
            plain = self.get_token(*scopes)
            return AccessTokenInfo(plain.token, plain.expires_on)
        return _guarded(lambda: credential.get_token_info(*scopes, options=options))

    def close(self) -> None:
        """Nothing to close: the credential is shared."""


def _guarded(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:
        # AzureError, OSError, ValueError; and KeyError, TypeError where the login host's answer is of no form it knows.
        raise TokenFailure from error

"""What to do about a trouble fits where it is: a vault is not mended in the kubeconfig."""

from __future__ import annotations

import pytest

from agent.advice import step

TLS = "TLS to 10.0.0.1 fails: its certificate or protocol is not accepted"


@pytest.mark.parametrize(
    ("cause", "detail", "subject", "word"),
    [
        ("unreachable", "connection refused", "the API server", "--context"),
        ("unreachable", TLS, "the API server", "kubeconfig"),
        ("unauthorized", "", "the Lease", "kubeconfig"),
        ("unreachable", "it cannot be connected to", "vault prod-kv", "NetworkPolicy"),
        ("unreachable", TLS, "vault prod-kv", "SSL_CERT_FILE"),
        ("unreachable", f"no token for prod-kv.vault.azure.net: {TLS}", "vault prod-kv", "SSL_CERT_FILE"),
        ("unauthorized", "", "vault prod-kv", "--vault-credential"),
        ("access-denied", "", "vault prod-kv", "Key Vault Reader"),
        ("server-error", "", "vault prod-kv", ""),
    ],
)
def test_advice_fits_the_place(cause: str, detail: str, subject: str, word: str) -> None:
    """One step for each cause and place; what is the vault's is never looked for in the kubeconfig."""
    said = step(cause, detail, subject)
    assert word in said
    assert bool(said) == bool(word)
    assert not (subject.startswith("vault ") and ("kubeconfig" in said or "--context" in said))

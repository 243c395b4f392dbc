"""Which identity is shown, and what is told when it gets no token."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.servers import Vaults

from agent.sandbox.keyvault import Fault
from agent.vault.client import VaultClient
from agent.vault.credentials import CredentialKind, chosen, credential
from agent.vault.trouble import CredentialProblem

WORKLOAD = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/f"}
SERVICE_PRINCIPAL = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        (WORKLOAD | SERVICE_PRINCIPAL, "workload-identity"),
        (SERVICE_PRINCIPAL, "environment"),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_CERTIFICATE_PATH": "/c"}, "environment"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AZURE_CLIENT_ID": "c"}, "managed-identity"),
        ({"IDENTITY_ENDPOINT": "http://localhost"}, "managed-identity"),
        ({}, "cli"),
    ],
)
def test_auto_follows_the_documented_order(env: dict[str, str], kind: str) -> None:
    """What is configured decides, most specific first, without trying anything."""
    assert chosen("auto", env) == kind
    assert chosen("cli", env) == "cli"


@pytest.mark.parametrize(
    ("kind", "env", "missing"),
    [
        ("workload-identity", {"AZURE_CLIENT_ID": "c"}, "AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE"),
        ("environment", {}, "AZURE_TENANT_ID, AZURE_CLIENT_ID"),
        ("environment", {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, "AZURE_CLIENT_SECRET or"),
    ],
)
def test_a_credential_that_cannot_be_made_names_what_is_missing(
    azure: Vaults, kind: CredentialKind, env: dict[str, str], missing: str
) -> None:
    """The variables that a kind of credential needs are named at the start."""
    with pytest.raises(CredentialProblem, match=missing):
        credential(kind, azure.session, env)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"AZURE_CLIENT_SECRET": "hunter2hunter2", "AZURE_TENANT_ID": "no tenant / hunter2hunter2"}, "ValueError"),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere/hunter2hunter2"}, "FileNotFoundError"),
    ],
)
def test_a_credential_that_azure_refuses_to_make_is_told_by_its_variables(
    azure: Vaults, settings: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of variables and the kind of the error are told, and nothing that is in them."""
    env = {**SERVICE_PRINCIPAL, **settings}
    if "AZURE_CLIENT_CERTIFICATE_PATH" in settings:
        del env["AZURE_CLIENT_SECRET"]
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialProblem) as caught:
        credential("environment", azure.session, env)
    assert all(name in str(caught.value) for name in env)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def workload(azure: Vaults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VaultClient:
    """A vault client with workload identity, as in a pod."""
    azure.fill("kv", ["a"])
    (tmp_path / "token").write_text("the-pods-own-token")
    monkeypatch.setenv("AZURE_TENANT_ID", azure.kv.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", "agent")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    return VaultClient(
        "kv.vault.azure.net", credential("auto", azure.session), session=azure.session, clock=azure.clock
    )


def test_workload_identity_reads_a_vault(azure: Vaults, workload: VaultClient) -> None:
    """The pod's projected token is exchanged for one that the vault takes."""
    assert set(workload.sweep(frozenset({"a"}), azure.soon()).sources) == {"a"}
    assert [e.identity for e in azure.operations("list")] == ["agent"]


def test_a_token_file_that_is_missing_is_told_by_its_path(azure: Vaults, workload: VaultClient, tmp_path: Path) -> None:
    """The Azure library lets a bare FileNotFoundError through; it becomes a trouble like any other."""
    (tmp_path / "token").unlink()
    trouble = workload.sweep(frozenset({"a"}), azure.soon()).trouble
    assert trouble is not None
    assert trouble.cause == "credential"
    assert str(tmp_path / "token") in trouble.detail


@pytest.mark.parametrize(
    ("fault", "cause", "words"),
    [
        ("401", "credential", "AADSTS7000222"),
        ("503", "credential", "AADSTS"),
        ("429:30", "credential", "AADSTS"),
        ("garbage", "credential", "no token could be had"),
        ("drop", "unreachable", "the login host"),
        (Fault(kind="garbage", message="a page whose token expires_in an hour"), "credential", "(TypeError)"),
    ],
)
def test_trouble_with_the_login_host_is_not_blamed_on_the_vault(
    azure: Vaults, workload: VaultClient, fault: str | Fault, cause: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot be had is told as that, at once, and the library's log of whole answers stays silent."""
    azure.kv.fault(fault, operation="token")
    with caplog.at_level(logging.DEBUG):
        trouble = workload.sweep(frozenset({"a"}), azure.soon(5.0)).trouble
    assert trouble is not None
    assert trouble.cause == cause
    assert words in trouble.detail
    assert not [record for record in caplog.records if record.name.startswith("azure")]


def test_a_vault_that_hangs_does_not_hold_the_cycle_for_long(azure: Vaults, workload: VaultClient) -> None:
    """A vault whose answer does not come is given up at the deadline."""
    azure.kv.fault("hang", operation="list")
    trouble = workload.sweep(frozenset({"a"}), azure.soon(0.5)).trouble
    assert trouble is not None
    assert trouble.cause == "unreachable"
    assert len(azure.operations("list")) == 1

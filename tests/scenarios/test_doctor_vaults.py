"""`doctor` tells as whom the vaults are looked at, what keeps us out, and the command that lets us in."""

from __future__ import annotations

import re

import pytest
from support.doctoring import Told, doctor
from support.scenario import Scenario

from agent.sandbox import builders as b
from agent.sandbox.keyvault import Fault

NS, KV = "shop", "prod-kv"


def stores(s: Scenario) -> None:
    """A vault that the policy names, one that it does not, one by a URL that is followed nowhere."""
    s.rotate(KV, "api-key", "value-one")
    s.apply(
        b.secret_store(KV, NS),
        b.secret_store("other-kv", NS, name="other"),
        b.secret_store("https://10.0.0.1/", NS, name="odd"),
        b.cluster_secret_store(KV, name="shared"),
    )


def struck(s: Scenario, fault: Fault | str, **where: str) -> Told:
    """What is told while this goes wrong."""
    rule = s.call(s.sandbox.vaults.fault, fault, **where)
    told = doctor(s)
    s.call(s.sandbox.vaults.faults.remove, rule)
    return told


def test_a_vault_that_answers_is_told_with_the_identity_and_the_stores_that_name_it() -> None:
    """The kind of credential, client and tenant, and never a token; no value is asked for, only one list."""
    with Scenario() as s:
        stores(s)
        s.policy(vaults=[KV, "spare-kv"])

        told = doctor(s)

        tenant = s.environment["AZURE_TENANT_ID"]
        assert told.line("vaults", "identity")["said"] == f"workload identity, client agent, tenant {tenant}"
        line = told.line("vaults", KV)
        assert (line["state"], told.code) == ("ok", 0)
        assert line["said"] == "token obtained, list answered (SecretStore shop/vault, ClusterSecretStore shared)"
        assert told.line("vaults", "spare-kv")["said"] == "in the policy, but no SecretStore in reach names it"
        notes = {each["said"] for each in told.lines("vaults", "stores")}
        assert notes == {
            "SecretStore shop/other: other-kv.vault.azure.net is not in the policy's vaults, so it is not looked at",
            "SecretStore shop/odd: vaultUrl is an IP address, so no request is sent there",
        }
        audit = s.call(lambda: list(s.sandbox.vaults.audit))
        assert [(e.operation, e.vault) for e in audit if e.identity == "agent" and e.vault] == [("list", KV)]


def test_a_missing_role_is_named_with_the_command_that_grants_it() -> None:
    """By role assignments Key Vault Reader, by access policies the permission to list; nothing that reads a value."""
    with Scenario() as s:
        stores(s)
        s.policy(vaults=[KV])

        by_role = struck(s, Fault(status=403, inner="ForbiddenByRbac"), identity="agent")
        line = by_role.line("vaults", KV)
        assert (by_role.code, line["state"]) == (2, "error")
        (command,) = line["commands"]
        assert command.startswith('az role assignment create --role "Key Vault Reader" --assignee ')
        assert command.endswith(f'--scope "$(az keyvault show --name {KV} --query id --output tsv)"')

        by_policy = struck(s, Fault(status=403, inner="AccessDenied"), identity="agent").line("vaults", KV)
        (command,) = by_policy["commands"]
        assert command.startswith(f"az keyvault set-policy --name {KV} --spn ")
        assert command.endswith(" --secret-permissions list")


@pytest.mark.parametrize(
    ("fault", "where", "state", "said", "todo"),
    [
        ("403:ForbiddenByFirewall", {}, "error", "network rules of prod-kv.vault.azure.net shut us", "network rules"),
        ("429:600", {}, "warning", "throttles us", "requestsPerSecond"),
        ("401", {}, "error", "does not accept our token", "belongs to tenant"),
        ("500", {}, "warning", "answers 500", "try again"),
        ("drop", {}, "error", "", "check the network"),
        ("garbage", {}, "error", "is no JSON", "stands between us"),
        ("401", {"operation": "token"}, "error", "no token could be had", "--vault-credential"),
    ],
)  # fmt: skip
def test_whatever_keeps_us_from_a_vault_has_its_line_and_its_advice(
    fault: str, where: dict[str, str], state: str, said: str, todo: str
) -> None:
    """Firewall, throttling, a refused token, an outage, a broken connection, a foreign answer, no token at all."""
    with Scenario() as s:
        stores(s)
        s.policy(vaults=[KV])

        told = struck(s, fault, **where)

        line = told.line("vaults", KV)
        assert line["state"] == state
        assert said in line["said"]
        assert todo in line["todo"]
        assert told.code == (2 if state == "error" else 0)


def test_an_identity_that_cannot_be_made_is_said_before_any_vault_is_asked() -> None:
    """The variables that are missing are named."""
    with Scenario() as s:
        stores(s)
        s.policy(vaults=[KV])

        told = doctor(s, "--vault-credential", "environment")

        line = told.line("vaults", "identity")
        assert (told.code, line["state"]) == (2, "error")
        assert "AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH" in line["said"]
        assert told.lines("vaults", KV) == []


def test_a_vault_whose_clock_is_off_is_told_by_how_much() -> None:
    """Beyond the policy's margin the order of a version and a sync cannot be told: an error; within it, all is well."""
    with Scenario() as s:
        stores(s)
        s.policy(vaults=[KV], margins={"vault": "30s"})
        same = "this machine, vault prod-kv: the same as the API server's (margin 30 s)"
        assert doctor(s).line("API server", "clocks")["said"] == same

        s.call(setattr, s.sandbox.vaults, "ahead", 90.0)
        told = doctor(s)

        line = told.line("API server", "clocks")
        assert (told.code, line["state"]) == (2, "error")
        ahead = r"vault prod-kv: 9[01] s ahead of the API server's clock, more than the margin of 30 s"
        assert re.search(ahead, line["said"])
        assert "margins.vault" in line["todo"]

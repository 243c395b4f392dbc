"""The assembled world: what runs in it, who may do what, and the files that lead others to it."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import WorkloadIdentityCredential
from azure.keyvault.secrets import SecretClient
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config
from support.scenario import Scenario

from agent.sandbox import builders as b
from agent.sandbox.client import ApiError, Object
from agent.sandbox.files import environment, write_files
from agent.sandbox.pki import authority
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import Options, Sandbox
from agent.vault.connect_to import session

SHOP = [
    b.secret_store("prod-kv", "shop"),
    b.external_secret("app-secrets", "shop", {"API_KEY": "api-key"}),
    b.deployment("backend", "shop", 2, env={"API_KEY": ("app-secrets", "API_KEY")}),
]


@pytest.fixture
def s() -> Iterator[Scenario]:
    """A running world."""
    with Scenario() as scenario:
        yield scenario


def vault_client(sandbox: Sandbox, directory: Path, vault: str) -> SecretClient:
    """The real SDK, with the agent's identity as its environment describes it."""
    variables = environment(sandbox, directory)
    http = session(variables["SECRET_DRIFT_AGENT_VAULT_CONNECT_TO"], ca_bundle=variables["SSL_CERT_FILE"])
    transport = RequestsTransport(session=http, session_owner=False)
    identity = WorkloadIdentityCredential(
        tenant_id=variables["AZURE_TENANT_ID"],
        client_id=variables["AZURE_CLIENT_ID"],
        token_file_path=variables["AZURE_FEDERATED_TOKEN_FILE"],
        authority=variables["AZURE_AUTHORITY_HOST"],
        transport=transport,
    )
    return SecretClient(f"https://{vault}.vault.azure.net", identity, transport=transport, retry_total=0)


async def break_an_actor(sandbox: Sandbox) -> None:
    """Let an actor fail."""

    async def broken() -> None:
        raise ZeroDivisionError("a bug")

    sandbox.start_actor(broken(), "a broken actor")
    while not sandbox.problems:  # noqa: ASYNC110  # one or two turns of the loop
        await asyncio.sleep(0)


def test_an_actor_that_stumbles_over_its_own_end_is_no_failure_of_the_world() -> None:
    """A change that comes in the moment in which it is told to end can start nothing any more."""

    async def lived() -> list[Exception]:
        async def stumbling() -> None:
            async with asyncio.TaskGroup() as group:

                async def following() -> None:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        late = asyncio.sleep(60)
                        try:
                            group.create_task(late)
                        finally:
                            late.close()

                group.create_task(following())
                await asyncio.sleep(60)

        async with Sandbox() as sandbox:
            sandbox.start_actor(stumbling(), "an actor")
            await asyncio.sleep(0)
        return sandbox.problems

    assert asyncio.run(lived()) == []


def test_a_vaults_value_comes_to_every_container(s: Scenario) -> None:
    """ESO reads the vault, the controllers make pods, and the kubelet starts them with the Secret's value."""
    s.rotate("prod-kv", "api-key", "first")
    s.apply(*SHOP)
    s.external_secret_ready("shop", "app-secrets")
    s.ready("shop", "backend")
    assert s.secret("shop", "app-secrets") == {"API_KEY": b"first"}
    assert s.all_hold("shop", "backend", "app-secrets", "API_KEY", "first")
    assert [s.holds("shop", pod["metadata"]["name"]) for pod in s.pods("shop", "backend")] == [
        {("app-secrets", "API_KEY"): b"first"}
    ] * 2


def test_each_actor_is_a_user_of_its_own(s: Scenario) -> None:
    """The API server's audit tells ESO, the controllers, the kubelets and the admin apart."""
    s.rotate("prod-kv", "api-key", "first")
    s.apply(*SHOP)
    s.ready("shop", "backend")
    makers = {(e.user, e.resource) for e in s.call(lambda: list(s.sandbox.api.audit)) if e.verb == "create"}
    assert {
        ("admin", "deployments"),
        ("system:eso", "secrets"),
        ("system:controllers", "pods"),
        ("system:kubelet", "nodes"),
    } <= makers
    assert s.writes("agent") == []


def test_the_agents_namespace_is_there_from_the_start(s: Scenario) -> None:
    """The namespaces that every cluster has, and the agent's own, exist in an empty world."""
    names = {obj["metadata"]["name"] for obj in s.objects("Namespace")}
    assert {"default", "kube-system", "secret-drift-agent"} <= names


def test_the_agent_may_list_a_vault_but_read_no_value(s: Scenario) -> None:
    """With the environment's identity the real SDK lists names, and is refused a value as Azure refuses it."""
    s.rotate("prod-kv", "api-key", "first")
    client = vault_client(s.sandbox, s.directory, "prod-kv")
    assert [found.name for found in client.list_properties_of_secrets()] == ["api-key"]
    with pytest.raises(HttpResponseError) as refused:
        client.get_secret("api-key")
    assert refused.value.status_code == 403


def test_nobody_logs_in_to_the_vaults_with_a_token_he_made_up(s: Scenario) -> None:
    """The login host checks the federated token."""
    s.rotate("prod-kv", "api-key", "first")
    (s.directory / "federated-token").write_text("made-up")
    with pytest.raises(Exception, match="AADSTS700213"):
        list(vault_client(s.sandbox, s.directory, "prod-kv").list_properties_of_secrets())


def test_the_kubeconfig_leads_the_official_client_to_the_cluster(s: Scenario) -> None:
    """The kubernetes package reads it, trusts the API server, and is the user ``agent``."""
    from kubernetes.client import CoreV1Api  # all of the generated models: most of a second, for each test process

    configuration = Configuration()
    load_kube_config(str(s.directory / "kubeconfig"), client_configuration=configuration)  # type: ignore[no-untyped-call]
    with ApiClient(configuration) as client:
        found = [each.metadata.name for each in CoreV1Api(client).list_namespace().items if each.metadata]
    assert "secret-drift-agent" in found
    assert ("agent", "list", "namespaces") in {
        (e.user, e.verb, e.resource) for e in s.call(lambda: list(s.sandbox.api.audit))
    }


def test_a_shell_reads_the_environment_file(s: Scenario) -> None:
    """Sourcing ``env`` sets exactly the variables that ``environment`` names."""
    script = ". ./env; env -0"
    told = subprocess.run(
        ["/bin/sh", "-c", script], cwd=s.directory, env={}, capture_output=True, check=True, text=True
    )
    read = dict(line.split("=", 1) for line in told.stdout.split("\0") if line)
    assert {k: v for k, v in read.items() if k not in ("PWD", "_", "OLDPWD", "SHLVL")} == environment(
        s.sandbox, s.directory
    )


def test_files_with_credentials_are_for_their_owner_only(tmp_path: Path) -> None:
    """kubeconfig and federated token have mode 0600, also where an older file was open to all."""
    (tmp_path / "kubeconfig").write_text("old")
    os.chmod(tmp_path / "kubeconfig", 0o644)
    with SandboxThread() as world:
        world.call(write_files, world.sandbox, tmp_path)
    for name in ("kubeconfig", "federated-token"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_one_authority_serves_every_world_of_a_process() -> None:
    """Certificates are made once: two worlds share them."""
    assert authority() is authority()


def test_an_actor_that_fails_is_raised_at_the_end_of_the_world() -> None:
    """A broken actor cannot pass unseen: the end of the block raises what it raised."""

    with pytest.raises(ExceptionGroup) as caught, SandboxThread() as world:
        world.run(break_an_actor(world.sandbox))
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
    assert caught.value.exceptions[0].__notes__ == ["actor: a broken actor"]


def test_waiting_for_a_dead_actor_ends_at_once() -> None:
    """A test that waits hears of a broken actor, in place of a timeout."""

    with Scenario() as s:
        s.run(break_an_actor(s.sandbox))
        with pytest.raises(ExceptionGroup):
            s.wait(lambda: False, timeout=60)
        s.sandbox.problems.clear()


def test_a_world_without_eso_leaves_externalsecrets_alone() -> None:
    """With ESO left out nobody syncs; the other actors work."""
    with Scenario(Options(eso=False, nodes=("only",))) as s:
        s.rotate("prod-kv", "api-key", "first")
        s.apply(*SHOP, b.deployment("other", "shop"))
        s.ready("shop", "other")
        assert s.secret("shop", "app-secrets") is None
        found = s.get("ExternalSecret", "shop", "app-secrets")
        assert found is not None
        assert not found.get("status")


def test_moving_the_clock_brings_eso_s_next_refresh(s: Scenario) -> None:
    """An hour that passes in an instant is an hour for ESO: the new version is fetched."""
    s.rotate("prod-kv", "api-key", "first")
    s.apply(*SHOP)
    s.external_secret_ready("shop", "app-secrets")
    s.rotate("prod-kv", "api-key", "second")
    s.advance(3700)
    s.wait(lambda: s.secret("shop", "app-secrets") == {"API_KEY": b"second"}, why="the refresh")


def test_applying_again_changes_only_what_is_named(s: Scenario) -> None:
    """A second apply replaces the spec and keeps labels and annotations that others have set."""
    s.apply(b.namespace("shop", labels={"team": "a"}))
    s.apply(b.namespace("shop", annotations={"note": "b"}))
    found = s.get("Namespace", "", "shop")
    assert found is not None
    assert found["metadata"]["labels"] == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert found["metadata"]["annotations"] == {"note": "b"}


def test_an_object_that_is_refused_says_why(s: Scenario) -> None:
    """Apply raises what the API server answers; nothing is swallowed."""
    wrong: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}}
    with pytest.raises(ApiError, match="Not_A_Name"):
        s.apply(wrong)
    with pytest.raises(KeyError, match="is not served here"):
        s.apply({"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "x"}})

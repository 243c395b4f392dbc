"""Connections led elsewhere keep all else: names, verification, pools."""

from __future__ import annotations

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from keyvault_harness import authority, sandbox
from urllib3.exceptions import NewConnectionError

from agent.vault.connect_to import environment_address, is_redirected, parse_address, session


def test_a_certificate_for_another_name_is_refused() -> None:
    """Whoever answers at the address must be able to prove the real host's name, or no request is sent."""
    with sandbox("*.vault.attacker.example", "login.microsoftonline.com") as world:
        world.kv.vault("prod-kv").set("k", "v")
        with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
            world.client("prod-kv").get_secret("k")
        assert world.kv.audit == []


def test_an_unknown_authority_is_refused() -> None:
    """The right name on a certificate of an authority that is not trusted does not do."""
    with sandbox() as world:
        world.kv.vault("prod-kv").set("k", "v")
        stranger = RequestsTransport(session=session(f"127.0.0.1:{world.kv.port}"), session_owner=False)
        credential = ClientSecretCredential(world.kv.tenant, "admin", "pw", transport=stranger)
        client = SecretClient("https://prod-kv.vault.azure.net", credential, transport=stranger, retry_total=0)
        with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get_secret("k")


def test_the_bundle_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUESTS_CA_BUNDLE is honoured as ever."""
    with sandbox() as world:
        world.kv.vault("prod-kv")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority()[1])
        with session(f"127.0.0.1:{world.kv.port}") as plain:
            assert plain.get("https://prod-kv.vault.azure.net/secrets?api-version=7.4", timeout=10).status_code == 401


def test_a_proxy_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment does not lead a redirected host past the address."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with sandbox() as world:
        world.kv.vault("prod-kv").set("k", "v")
        assert world.client("prod-kv").get_secret("k").value == "v"


def test_connections_are_kept_open_per_host() -> None:
    """Many requests to a vault and the login host take one connection each."""
    with sandbox() as world:
        world.kv.vault("prod-kv").set("k", "v")
        client = world.client("prod-kv")
        for _ in range(5):
            client.get_secret("k")
        pools = world.session.get_adapter("https://").poolmanager.pools  # type: ignore[attr-defined]
        connections = {key.key_host: pools[key].num_connections for key in pools.keys()}  # noqa: SIM118
        assert connections == {"prod-kv.vault.azure.net": 1, "login.microsoftonline.com": 1}


def test_a_plain_get_is_answered_as_any_other() -> None:
    """What a plain GET is spared changes nothing of its answer, and its headers arrive."""
    with sandbox() as world, session(f"127.0.0.1:{world.kv.port}", ca_bundle=world.ca_bundle) as plain:
        world.kv.vault("prod-kv")
        url, given = "https://prod-kv.vault.azure.net/secrets?api-version=7.4", {"x-ms-client-request-id": "one"}
        usual = plain.request("GET", url, headers=given, timeout=10)
        plain.trust_env = False
        spared = plain.request("GET", url, headers=given, timeout=10, allow_redirects=False, stream=True)
        assert (spared.status_code, spared.content) == (usual.status_code, usual.content)
        assert spared.headers["WWW-Authenticate"] == usual.headers["WWW-Authenticate"]
        assert {name: spared.request.headers[name] for name in usual.request.headers} == dict(usual.request.headers)


def test_a_host_that_is_no_vault_goes_where_it_says() -> None:
    """Only vaults and login hosts are led elsewhere."""
    with sandbox("localhost", "127.0.0.1") as world, session("127.0.0.1:9", ca_bundle=world.ca_bundle) as led:
        with pytest.raises(NewConnectionError, match=r"(?i)refused"):
            led.get("https://prod-kv.vault.azure.net/", timeout=5)
        # The server knows no vault "localhost" and hangs up: so this request did reach it.
        with pytest.raises(requests.ConnectionError, match=r"(?i)reset|aborted"):
            led.get(f"https://localhost:{world.kv.port}/", timeout=5)


@pytest.mark.parametrize(
    ("host", "led"),
    [
        ("prod-kv.vault.azure.net", True),
        ("PROD-KV.VAULT.AZURE.NET", True),
        ("prod-kv.vault.azure.net.", True),
        ("prod-kv.vault.azure.cn", True),
        ("prod-kv.vault.usgovcloudapi.net", True),
        ("login.microsoftonline.com", True),
        ("vault.azure.net", False),
        ("a.b.vault.azure.net", False),
        ("prod-kv.vault.azure.net.attacker.example", False),
        ("evilvault.azure.net", False),
        ("login.microsoftonline.com.attacker.example", False),
    ],
)
def test_which_hosts_are_led_elsewhere(host: str, led: bool) -> None:
    """Vaults are one label below a cloud's suffix; nothing that merely looks like one is taken along."""
    assert is_redirected(host) is led


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8443", ("127.0.0.1", 8443)), ("kv.local:443", ("kv.local", 443)), (" [::1]:1 ", ("::1", 1))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    """Names, IPv4 and bracketed IPv6 are understood."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":443", "host:0", "host:65536", "host:x", "https://h:1", "::1:443", "[]:1"]
)
def test_a_malformed_address_is_named(text: str) -> None:
    """The error repeats what was given and says what was expected."""
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_address(text)


def test_the_environment_may_name_an_address() -> None:
    """An empty variable is as good as none."""
    assert environment_address({"SECRET_DRIFT_AGENT_VAULT_CONNECT_TO": "h:1"}) == "h:1"
    assert environment_address({"SECRET_DRIFT_AGENT_VAULT_CONNECT_TO": ""}) is None
    assert environment_address({}) is None

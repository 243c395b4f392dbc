"""What azure-keyvault-secrets and azure-identity see of the sandbox's vaults is what they see of Azure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import ClientSecretCredential, WorkloadIdentityCredential
from azure.keyvault.secrets import ApiVersion, SecretClient
from keyvault_harness import Sandbox, sandbox

LONG_AGO = 1_700_000_000


@pytest.fixture
def world() -> Iterator[Sandbox]:
    with sandbox() as running:
        yield running


def inner_code(error: HttpResponseError) -> str:
    assert error.error is not None
    inner = error.error.innererror
    return inner["code"] if inner else ""


def test_a_vault_is_listed_in_pages_of_25_without_version_ids(world: Sandbox) -> None:
    """A client is challenged, gets a token and lists 60 secrets in three pages, with their newest attributes."""
    vault = world.kv.vault("list-kv")
    for number in range(60):
        vault.set(f"secret-{number:02}", "old", created=LONG_AGO, tags={"owner": "me"}, content_type="text/plain")
        vault.set(f"secret-{number:02}", "new", created=LONG_AGO + 60, tags={"owner": "you"}, enabled=number != 7)

    pages = [list(page) for page in world.client("list-kv", "agent").list_properties_of_secrets().by_page()]

    assert [len(page) for page in pages] == [25, 25, 10]
    items = [item for page in pages for item in page]
    assert [item.name for item in items] == sorted(f"secret-{number:02}" for number in range(60))
    assert {item.version for item in items} == {None}
    assert {item.created_on for item in items} == {datetime.fromtimestamp(LONG_AGO + 60, UTC)}
    assert items[0].tags == {"owner": "you"}
    assert [item.name for item in items if not item.enabled] == ["secret-07"]
    assert items[0].recovery_level == "Recoverable+Purgeable"
    assert items[0].recoverable_days == 90
    assert world.operations() == ["challenge", "discovery", "token", "list", "list", "list"]
    assert [(r.identity, r.vault, r.code) for r in world.kv.audit if r.operation in ("challenge", "list")] == [
        ("", "list-kv", 401),
        *[("agent", "list-kv", 200)] * 3,
    ]


def test_workload_identity_logs_in_with_one_request(world: Sandbox, tmp_path: Path) -> None:
    """The content of the federated token file is accepted as the client's assertion; a foreign one is refused."""
    token_file = tmp_path / "token"
    token_file.write_text("projected-token")
    world.kv.login.register("agent", assertion="projected-token")
    world.kv.vault("wi-kv").set("k", "v")
    for content, fails in (("projected-token", False), ("stolen-token", True)):
        token_file.write_text(content)
        credential = WorkloadIdentityCredential(
            tenant_id=world.kv.tenant,
            client_id="agent",
            token_file_path=str(token_file),
            transport=world.transport(),
            retry_total=0,
        )
        client = SecretClient("https://wi-kv.vault.azure.net", credential, transport=world.transport(), retry_total=0)
        if fails:
            with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
                next(client.list_properties_of_secrets())
        else:
            assert [item.name for item in client.list_properties_of_secrets()] == ["k"]
            assert world.operations() == ["challenge", "token", "list"]


def test_set_get_and_update_carry_all_properties(world: Sandbox) -> None:
    """Value, tags, content type, expiry and not-before come back as they went in; an update moves `updated` alone."""
    world.kv.vault("crud-kv")
    client = world.client("crud-kv")
    expires, begins = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)

    written = client.set_secret(
        "api-key", "s3cret", tags={"a": "1"}, content_type="text/plain", expires_on=expires, not_before=begins
    )
    world.run(lambda: world.clock.advance(100))
    updated = client.update_secret_properties("api-key", written.properties.version, enabled=True, tags={"b": "2"})
    read = client.get_secret("api-key")

    assert read.value == "s3cret"
    assert read.properties.version == written.properties.version
    assert len(read.properties.version or "") == 32
    assert (read.properties.tags, read.properties.content_type) == ({"b": "2"}, "text/plain")
    assert (read.properties.expires_on, read.properties.not_before) == (expires, begins)
    assert read.properties.created_on == written.properties.created_on
    assert updated.updated_on is not None
    assert written.properties.updated_on is not None
    assert 100 <= (updated.updated_on - written.properties.updated_on).total_seconds() <= 102
    assert client.update_secret_properties("api-key", content_type="x").version == written.properties.version


def test_the_newest_version_counts_even_when_disabled(world: Sandbox) -> None:
    """A get without version never falls back: 403 SecretDisabled, while the older version is there by its id."""
    vault = world.kv.vault("disabled-kv")
    old = vault.set("k", "old", created=LONG_AGO)
    new = vault.set("k", "new", created=LONG_AGO + 1, enabled=False)
    client = world.client("disabled-kv")

    with pytest.raises(HttpResponseError) as caught:
        client.get_secret("k")

    assert caught.value.status_code == 403
    assert inner_code(caught.value) == "SecretDisabled"
    assert "Operation get is not allowed on a disabled secret." in str(caught.value)
    assert client.get_secret("k", old.version).value == "old"
    world.run(lambda: vault.update("k", new.version, enabled=True))
    assert client.get_secret("k").value == "new"


def test_dates_do_not_keep_a_value_back(world: Sandbox) -> None:
    """Expired and not yet valid secrets are handed out: to the service these dates are notes."""
    vault = world.kv.vault("dates-kv")
    vault.set("expired", "e", exp=LONG_AGO)
    vault.set("early", "f", nbf=world.clock.now() + 3600)
    client = world.client("dates-kv")
    assert client.get_secret("expired").value == "e"
    assert client.get_secret("early").value == "f"


def test_versions_come_in_no_order_of_age(world: Sandbox) -> None:
    """All 60 versions of a secret are listed, in pages, with their own times, and not in the order of their making."""
    vault = world.kv.vault("versions-kv")
    made = [vault.set("k", str(number), created=LONG_AGO + number).version for number in range(60)]
    pages = [list(p) for p in world.client("versions-kv", "agent").list_properties_of_secret_versions("k").by_page()]
    listed = [item.version for page in pages for item in page]
    assert [len(page) for page in pages] == [25, 25, 10]
    assert sorted(version or "" for version in listed) == sorted(made)
    assert listed != made
    assert {item.version: item.created_on for page in pages for item in page} == {
        version: datetime.fromtimestamp(LONG_AGO + number, UTC) for number, version in enumerate(made)
    }
    assert list(world.client("versions-kv").list_properties_of_secret_versions("never-was")) == []


def test_a_smaller_page_may_be_asked_for(world: Sandbox) -> None:
    """maxresults makes pages smaller, on every page, and never larger than 25."""
    vault = world.kv.vault("pages-kv")
    for number in range(7):
        vault.set(f"s{number}", "v")
    client = world.client("pages-kv")
    assert [len(list(page)) for page in client.list_properties_of_secrets(max_page_size=3).by_page()] == [3, 3, 1]
    with pytest.raises(HttpResponseError, match="BadParameter"):
        next(client.list_properties_of_secrets(max_page_size=26))


def test_soft_delete_recover_and_purge(world: Sandbox) -> None:
    """A deleted secret is gone, keeps its name, comes back with all versions, and is gone for good once purged."""
    world.kv.vault("delete-kv")
    client = world.client("delete-kv")
    client.set_secret("k", "one")
    version = client.set_secret("k", "two").properties.version

    deleted = client.begin_delete_secret("k").result()

    assert deleted.recovery_id == "https://delete-kv.vault.azure.net/deletedsecrets/k"
    assert deleted.scheduled_purge_date is not None
    assert deleted.deleted_date is not None
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    with pytest.raises(ResourceNotFoundError, match=r"A secret with \(name/id\) k was not found in this key vault"):
        client.get_secret("k")
    with pytest.raises(ResourceExistsError) as conflict:
        client.set_secret("k", "three")
    assert inner_code(conflict.value) == "ObjectIsDeletedButRecoverable"
    assert list(client.list_properties_of_secrets()) == []
    assert [secret.name for secret in client.list_deleted_secrets()] == ["k"]
    assert client.get_deleted_secret("k").name == "k"

    client.begin_recover_deleted_secret("k").wait()

    assert client.get_secret("k").properties.version == version
    assert len(list(client.list_properties_of_secret_versions("k"))) == 2
    with pytest.raises(ResourceNotFoundError, match="Deleted Secret not found: k"):
        client.get_deleted_secret("k")
    client.begin_delete_secret("k").wait()
    client.purge_deleted_secret("k")
    with pytest.raises(ResourceNotFoundError):
        client.begin_recover_deleted_secret("k")
    assert client.set_secret("k", "anew").value == "anew"


@pytest.mark.parametrize("version", [version.value for version in ApiVersion])
def test_every_api_version_of_the_sdk_is_served(world: Sandbox, version: str) -> None:
    """Old and new clients read the same vault."""
    world.kv.vault("api-kv").set("k", "v")
    client = world.client("api-kv", api_version=version)
    assert client.get_secret("k").value == "v"
    assert world.kv.audit[-1].api_version == version


def test_an_unknown_api_version_is_refused(world: Sandbox) -> None:
    """A version that the service does not know is a bad parameter, and so is none at all."""
    world.kv.vault("api-kv")
    answer = world.raw("api-kv", "/secrets?api-version=6.9")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BadParameter"
    assert "(6.9) is not recognized" in answer.json()["error"]["message"]
    assert world.raw("api-kv", "/secrets").json()["error"]["message"] == "api-version must be specified"


def test_paths_are_read_as_leniently_as_the_service_does(world: Sandbox) -> None:
    """The legacy Go SDK's trailing slash, doubled slashes and another case of the name all find the secret."""
    world.kv.vault("path-kv").set("Api-Key", "v")
    for path in ("/secrets/Api-Key/", "//secrets/api-key", "/secrets/API-KEY"):
        answer = world.raw("path-kv", f"{path}?api-version=7.0")
        assert answer.json()["value"] == "v"
        assert answer.json()["id"].startswith("https://path-kv.vault.azure.net/secrets/Api-Key/")
    assert world.raw("path-kv", "/secrets/a_b?api-version=7.0").json()["error"] == {
        "code": "BadParameter",
        "message": "The request URI contains an invalid name: a_b",
    }
    assert world.raw("path-kv", "/keys?api-version=7.0").status_code == 404
    assert world.raw("path-kv", "/secrets/k?api-version=7.0", "PATCH", data="no json").status_code == 400


def test_an_unknown_client_or_a_wrong_secret_gets_no_token(world: Sandbox) -> None:
    """The login host refuses in AAD's words, so that the SDK's error tells the cause."""
    world.kv.vault("login-kv")
    world.kv.login.register("agent", secret="right")
    for identity, secret, number in (("stranger", "right", "AADSTS700016"), ("agent", "wrong", "AADSTS7000215")):
        credential = ClientSecretCredential(world.kv.tenant, identity, secret, transport=world.transport())
        client = SecretClient("https://login-kv.vault.azure.net", credential, transport=world.transport())
        with pytest.raises(ClientAuthenticationError, match=number):
            next(client.list_properties_of_secrets())


def test_a_token_for_another_audience_or_tenant_is_worthless(world: Sandbox) -> None:
    """A vault takes only tokens for vaults, of its own tenant, that were issued and not revoked."""
    vault = world.kv.vault("aud-kv")
    vault.set("k", "v")
    path = "/secrets/k?api-version=7.4"
    wrong = world.raw("aud-kv", path, headers=world.bearer(audience="https://management.azure.com"))
    assert wrong.status_code == 401
    assert (
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."
        in wrong.text
    )
    assert world.raw("aud-kv", path, headers={"Authorization": "Bearer forged"}).status_code == 401
    held = world.bearer()
    assert world.raw("aud-kv", path, headers=held).status_code == 200
    world.run(lambda: world.kv.login.revoke("admin"))
    assert world.raw("aud-kv", path, headers=held).status_code == 401
    vault.tenant = "11111111-0000-4000-8000-000000000000"
    assert "AKV10032" in world.raw("aud-kv", path).text


def test_the_challenge_names_tenant_and_resource(world: Sandbox) -> None:
    """Without a token: 401 with the header from which a client learns where to log in, and for what."""
    world.kv.vault("challenge-kv")
    answer = world.raw("challenge-kv", "/secrets?api-version=7.4", headers={})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://login.microsoftonline.com/{world.kv.tenant}", resource="https://vault.azure.net"'
    )
    assert answer.json()["error"]["message"] == "AKV10000: Request is missing a Bearer or PoP token."


def test_the_old_token_endpoint_issues_tokens_too(world: Sandbox) -> None:
    """The legacy SDK logs in at /oauth2/token, by resource instead of scope."""
    world.kv.vault("v1-kv").set("k", "v")
    form = {
        "grant_type": "client_credentials",
        "client_id": "eso",
        "client_secret": "x",
        "resource": "https://vault.azure.net",
    }
    url = f"https://login.microsoftonline.com/{world.kv.tenant}/oauth2/token?api-version=1.0"
    answer = world.session.post(url, data=form, timeout=10).json()
    assert answer["expires_in"] == "3599"
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    assert world.raw("v1-kv", "/secrets/k/?api-version=7.0", headers=bearer).json()["value"] == "v"


def test_moving_the_world_forward_moves_dates_but_spoils_no_token(world: Sandbox) -> None:
    """A day skipped shows in the Date header and in `created`, and the token of before is still good."""
    vault = world.kv.vault("clock-kv")
    vault.set("k", "v")
    client = world.client("clock-kv")
    before = client.get_secret("k").properties.created_on
    world.run(lambda: world.clock.advance(86400))
    after = client.set_secret("k", "w").properties.created_on
    assert before is not None
    assert after is not None
    assert 86400 <= (after - before).total_seconds() <= 86410
    date = parsedate_to_datetime(world.raw("clock-kv", "/secrets/k?api-version=7.4").headers["Date"])
    assert abs(date.timestamp() - world.clock.now()) < 10
    assert world.operations().count("token") == 2


def test_a_reader_sees_metadata_but_no_value(world: Sandbox) -> None:
    """With the right to list alone, a get is 403 ForbiddenByRbac in Azure's words (by access policy: AccessDenied)."""
    vault = world.kv.vault("rights-kv")
    vault.set("k", "v")
    world.kv.grant("agent", "rights-kv")
    client = world.client("rights-kv", "agent")
    assert [item.name for item in client.list_properties_of_secrets()] == ["k"]
    assert len(list(client.list_properties_of_secret_versions("k"))) == 1
    forbidden: Callable[[], object]
    for forbidden, action in (
        (partial(client.get_secret, "k"), "getSecret"),
        (partial(client.set_secret, "k", "x"), "setSecret"),
    ):
        with pytest.raises(HttpResponseError) as caught:
            forbidden()
        assert caught.value.status_code == 403
        assert inner_code(caught.value) == "ForbiddenByRbac"
        assert f"Action: 'Microsoft.KeyVault/vaults/secrets/{action}/action'" in str(caught.value)
        assert "Vault: rights-kv;location=westeurope" in str(caught.value)
    vault.rbac = False
    with pytest.raises(HttpResponseError, match="does not have secrets get permission on key vault") as denied:
        client.get_secret("k")
    assert inner_code(denied.value) == "AccessDenied"
    world.kv.vault("other-kv")
    with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
        next(world.client("other-kv", "agent").list_properties_of_secrets())


def test_vaults_are_told_apart_by_host(world: Sandbox) -> None:
    """Two vaults share one port and nothing else; one that nobody made does not answer at all."""
    world.kv.vault("one-kv").set("k", "1")
    world.kv.vault("two-kv").set("k", "2")
    assert world.client("one-kv").get_secret("k").value == "1"
    assert world.client("two-kv").get_secret("k").value == "2"
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        world.client("none-kv").get_secret("k")


def test_another_cloud_has_its_own_resource() -> None:
    """A vault in China asks for a token for its own suffix, at its own login host."""
    with sandbox("*.vault.azure.cn", "login.chinacloudapi.cn") as world:
        world.kv.vault("cn-kv.vault.azure.cn").set("k", "v")
        credential = ClientSecretCredential(
            world.kv.tenant, "admin", "pw", authority="login.chinacloudapi.cn", transport=world.transport()
        )
        client = SecretClient("https://cn-kv.vault.azure.cn", credential, transport=world.transport())
        assert client.get_secret("k").value == "v"
        with pytest.raises(ValueError, match="not a vault of a known cloud"):
            world.kv.vault("kv.example.org")


def test_backup_is_refused_in_plain_words(world: Sandbox) -> None:
    """What the sandbox does not have it says, as a vault's error."""
    world.kv.vault("backup-kv").set("k", "v")
    with pytest.raises(HttpResponseError, match="does not backup secrets") as caught:
        world.client("backup-kv").backup_secret("k")
    assert caught.value.status_code == 501


def test_ten_thousand_secrets_take_four_hundred_pages(world: Sandbox) -> None:
    """A big vault is swept page by page, each secret exactly once, in steps that do not grow with the vault."""
    vault = world.kv.vault("big-kv")
    for number in range(10_000):
        vault.set(f"secret-{number:05}", "v")
    headers, link, names, pages = world.bearer(), "/secrets?api-version=7.6", [], 0
    while link:
        answer = world.raw("big-kv", link.removeprefix("https://big-kv.vault.azure.net:443"), headers=headers).json()
        names += [item["id"].rpartition("/")[2] for item in answer["value"]]
        link, pages = answer["nextLink"], pages + 1
    assert pages == 400
    assert names == vault.names()


def test_a_hook_is_told_before_and_after_every_request(world: Sandbox) -> None:
    """Before: nothing has happened yet; after: it has, though the client has not heard of it."""
    vault = world.kv.vault("hook-kv")
    told: list[tuple[str, str, int, list[str]]] = []

    async def hook(phase: str, request: object) -> None:
        told.append((phase, request.operation, request.code, vault.names()))  # type: ignore[attr-defined]

    world.kv.on_request = hook
    world.client("hook-kv").set_secret("k", "v")
    assert told[-2:] == [("before", "set", 0, []), ("after", "set", 200, ["k"])]
    assert ("after", "challenge", 401, []) in told

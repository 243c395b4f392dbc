"""Sources, keys and exclusions of an ExternalSecret."""

from __future__ import annotations

from typing import Any

import pytest
from decode_builders import body, external_secret, owned, secret

from agent.cluster.decode import decode_object
from agent.labels import Selector
from agent.mapping import (
    EXCLUSIONS,
    BadKey,
    Facts,
    Scope,
    excluded,
    excluded_by_push,
    excluded_by_store,
    expected_keys,
    feeds,
    intended,
    resolve,
    vault_host,
    vault_secret,
)
from agent.model import (
    ExternalSecret,
    ObjectKey,
    PushSource,
    SecretStore,
    SecretView,
    SourceKey,
    SourceUse,
    StoreKey,
)

PROD = StoreKey("SecretStore", "shop", "prod")


def chain(status: dict[str, Any] | None = None, **spec: Any) -> ExternalSecret:
    found = decode_object("externalsecrets", body(external_secret(spec=spec, status=status)))
    assert isinstance(found, ExternalSecret)
    return found


def entry(secret_key: str, name: str, **ref: Any) -> dict[str, Any]:
    return {"secretKey": secret_key, "remoteRef": {"key": name, **ref}}


@pytest.mark.parametrize("key", ["Db-Password", "secret/Db-Password", "secret/db-password/", "secret/DB-PASSWORD/x/y"])
def test_all_spellings_of_a_vault_secret_are_one(key: str) -> None:
    """The secret/ prefix, further segments and the case of letters make no other secret."""
    assert vault_secret(key) == "db-password"


@pytest.mark.parametrize(
    "key", ["cert/x", "key/x", "password/x", "https://x/y", "", "secret/", "a_b", "a.b", "x" * 128]
)
def test_what_is_no_vault_secret_is_told_without_repeating_it(key: str) -> None:
    """Certificates, keys, unknown types and impossible names are refused in words that do not hold the text."""
    with pytest.raises(BadKey) as told:
        vault_secret(key)
    assert len(key) < 2 or key not in str(told.value)


def test_entries_that_cannot_be_followed_name_their_place() -> None:
    """A certificate, a search and an entry without a store are told by their place; the others stay sources."""
    es = chain(
        data=[entry("a", "good"), entry("b", "cert/tls")],
        dataFrom=[{"find": {"name": {"regexp": "x"}}}],
    )
    assert [use.name for use in es.uses] == ["good"]
    assert "spec.data[1].remoteRef.key: reads a certificate" in es.unsupported
    assert "spec.dataFrom[0].find: " in es.unsupported
    assert "names no store" in chain(secretStoreRef=None).unsupported


def test_only_the_first_problems_of_a_long_spec_are_told() -> None:
    """A tenant's spec of hundreds of bad entries makes one short line."""
    es = chain(data=[entry(str(index), "key/x") for index in range(300)])
    assert es.unsupported.endswith("and 297 more")
    assert len(es.unsupported) < 500


def test_a_source_ref_overrides_the_default_store() -> None:
    """An entry with a storeRef of its own reads that store; the default store counts only where it is read."""
    other = {"storeRef": {"name": "shared", "kind": "ClusterSecretStore"}}
    es = chain(data=[{**entry("a", "x"), "sourceRef": other}], dataFrom=[{"extract": {"key": "y", "version": "v1"}}])
    shared = StoreKey("ClusterSecretStore", "", "shared")
    assert [(use.store, use.name, use.version, use.place) for use in es.uses] == [
        (shared, "x", "", "spec.data[0]"),
        (PROD, "y", "v1", "spec.dataFrom[0].extract"),
    ]
    assert es.stores == (shared, PROD)


def test_a_data_entry_feeds_its_key_and_an_extract_all_others() -> None:
    """dataFrom can bring every key that no entry of data fixes; the last entry for a key wins."""
    es = chain(data=[entry("a", "one"), entry("a", "two")], dataFrom=[{"extract": {"key": "json"}}])
    assert [use.name for use in feeds(es, "a")] == ["two"]
    assert [use.name for use in feeds(es, "z")] == ["json"]


def test_under_deletion_policy_delete_overridden_sources_may_show_through() -> None:
    """Where ESO skips what the vault has no more, every source that could stand in feeds the key."""
    es = chain(data=[entry("a", "one")], dataFrom=[{"extract": {"key": "json"}}], target={"deletionPolicy": "Delete"})
    assert [use.name for use in feeds(es, "a")] == ["one", "json"]
    assert expected_keys(es) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, {"a", "b"}),
        ({"template": {"type": "Opaque"}}, {"a", "b"}),
        ({"template": {"data": {"url": "{{ .a }}"}}}, {"url"}),
        ({"template": {"data": {"url": "{{ .a }}"}, "mergePolicy": "Merge"}}, {"a", "b", "url"}),
        ({"template": {"templateFrom": [{"literal": "x: y"}]}}, None),
        ({"creationPolicy": "None"}, None),
        ({"creationPolicy": "Merge"}, {"a", "b"}),
        ({"manifest": {"kind": "ConfigMap"}}, None),
    ],
)
def test_the_keys_that_must_be_there(target: dict[str, Any], expected: set[str] | None) -> None:
    """Keys of data, unless a template replaces them by its own; none where the spec does not tell."""
    es = chain(data=[entry("a", "one"), entry("b", "two")], target=target)
    assert expected_keys(es) == (None if expected is None else frozenset(expected))


def test_a_template_makes_any_source_feed_any_key() -> None:
    """Which source a template reads is not looked into: all of them may feed each key."""
    es = chain(data=[entry("a", "one"), entry("b", "two")], target={"template": {"data": {"url": "{{ .a }}"}}})
    assert [use.name for use in feeds(es, "url")] == ["one", "two"]


def test_generators_and_other_targets_are_excluded() -> None:
    """A generator anywhere and a target that is no Secret exclude the chain, each with its reason."""
    generator = {"sourceRef": {"generatorRef": {"kind": "Password", "name": "p"}}}
    assert "generator" in chain(dataFrom=[generator]).excluded
    assert "generator" in chain(data=[{**entry("a", "x"), **generator}]).excluded
    assert "target.manifest" in chain(target={"manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}).excluded
    assert chain().excluded == ""


def test_an_external_secret_that_is_being_deleted_is_excluded() -> None:
    """Nothing is annotated that is about to go."""
    found = decode_object("externalsecrets", body(external_secret(deletionTimestamp="2026-11-23T22:00:00Z")))
    assert isinstance(found, ExternalSecret)
    assert found.excluded == "it is being deleted"


def test_each_row_of_the_exclusion_matrix_applies_to_something() -> None:
    """No row is dead, each reason is a line of its own, and nothing is excluded without a cause."""
    worlds = [
        Facts(generator=True),
        Facts(manifest=True),
        Facts(deleting=True),
        Facts(empty=True),
        Facts(refresh_policy="Sometimes"),
        Facts(creation_policy="Borrow"),
        Facts(deletion_policy="Burn"),
        Facts(pushed=True),
        Facts(provider="vault"),
        Facts(controller_class="blue"),
        Facts(creation_policy="None"),
        Facts(ready_reason="SecretDeleted"),
        Facts(ready_reason="SecretMissing"),
    ]
    reasons = {excluded(world, scope) for world in worlds for scope in Scope} - {""}
    assert reasons == {row.reason for row in EXCLUSIONS}
    assert excluded(Facts()) == excluded(Facts(), Scope.TARGET) == ""


def test_outcomes_that_eso_intends_excuse_a_missing_secret() -> None:
    """SecretDeleted, SecretMissing and creationPolicy None make a missing Secret right; a plain sync does not."""
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "SecretDeleted"}]}
    assert "deletionPolicy Delete" in intended(chain(status=ready))
    assert "no Secret" in intended(chain(target={"creationPolicy": "None"}))
    assert intended(chain()) == ""


def test_a_secret_that_is_pushed_to_a_vault_is_excluded() -> None:
    """By name or by label, in its own namespace only."""
    item = secret(labels={"app": "shop"}, ownerReferences=owned("ExternalSecret", "app", "external-secrets.io/v1"))
    view = decode_object("secrets", body(item))
    assert isinstance(view, SecretView)
    here = ObjectKey("shop", "push")
    by_name = PushSource(key=here, secret="app")
    by_label = PushSource(key=here, selector=Selector(labels=(("app", "shop"),)))
    elsewhere = PushSource(key=ObjectKey("other", "push"), secret="app")
    assert "PushSecret" in excluded_by_push(view, [by_name])
    assert "PushSecret" in excluded_by_push(view, [by_label])
    assert excluded_by_push(view, [elsewhere]) == ""


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (None, "SecretStore shop/prod does not exist"),
        (SecretStore(key=PROD, provider="aws"), "its store is not an Azure Key Vault"),
        (SecretStore(key=PROD, provider="azurekv", host="h", controller="blue"), "its store belongs to another"),
        (SecretStore(key=PROD, provider="azurekv", refused="vaultUrl is not https"), "vaultUrl is not https"),
        (SecretStore(key=PROD, provider="azurekv"), "its store names no vault"),
    ],
)
def test_a_source_that_cannot_be_resolved_says_why(store: SecretStore | None, said: str) -> None:
    """Missing stores, other providers, other classes and refused URLs are told in plain words."""
    found = resolve(SourceUse(store=PROD, name="x"), {} if store is None else {PROD: store})
    assert isinstance(found, str)
    assert found.startswith(said)


def test_a_source_resolves_to_its_vault() -> None:
    """A use and its store give the vault's host and the secret's name."""
    store = SecretStore(key=PROD, provider="azurekv", host="prod-kv.vault.azure.net", controller="default")
    assert excluded_by_store(store) == ""
    assert resolve(SourceUse(store=PROD, name="x"), {PROD: store}) == SourceKey("prod-kv.vault.azure.net", "x")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://prod-kv.vault.azure.net", "prod-kv.vault.azure.net"),
        ("https://Prod-KV.vault.azure.net/", "prod-kv.vault.azure.net"),
        ("HTTPS://kv1.vault.usgovcloudapi.net:443/", "kv1.vault.usgovcloudapi.net"),
        ("https://kv1.vault.azure.cn", "kv1.vault.azure.cn"),
    ],
)
def test_vaults_of_the_clouds_are_followed(url: str, host: str) -> None:
    """https, the usual port and a single name under a cloud's vault suffix."""
    assert vault_host(url) == (host, "")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "missing"),
        ("http://kv.vault.azure.net", "not https"),
        ("https://10.0.0.1", "IP address"),
        ("https://10.0.0.1:443/", "IP address"),
        ("https://[::1]:443/", "IP address"),
        ("https://2130706433/", "IP address"),
        ("https://metadata.internal/", "outside Azure"),
        ("https://vault.azure.net", "outside Azure"),
        ("https://kv.vault.azure.net.evil.test", "outside Azure"),
        ("https://evil.test/kv.vault.azure.net", "outside Azure"),
        ("https://evilvault.azure.net", "outside Azure"),
        ("https://user:pw@kv.vault.azure.net", "user information"),
        ("https://kv.vault.azure.net@evil.test", "user information"),
        ("https://kv.vault.azure.net:8443", "port"),
        ("https://kv.vault.azure.net/secrets/x", "more than a host"),
        ("https://kv.vault.azure.net?x=1", "more than a host"),
        ("https://kv.vault.azure.net#.evil.test", "more than a host"),
        ("https://a.b.vault.azure.net", "no name"),
        ("https://-kv.vault.azure.net", "no name"),
        ("https://kv\u3002vault.azure.net", "outside Azure"),
        ("https://\u212av.vault.azure.net", "no name"),
        ("https://kv.vault.azure.net\n", "outside Azure"),
        ("https://kv.vault.azure.net\\@evil.test", "more than a host"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, why: str) -> None:
    """A tenant's store cannot make the agent talk to another host; the reason never repeats what was written."""
    host, refused = vault_host(url)
    assert host == ""
    assert why in refused
    assert "evil" not in refused

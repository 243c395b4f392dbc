"""What an SRE sees of ESO when it cannot sync, and what this ESO refuses to play."""

from typing import Any

import pytest
from eso_world import NS, World, create_cluster_store, external_secret, run, start, store, world

from agent.sandbox.client import CLUSTER_SECRET_STORES, EXTERNAL_SECRETS, SECRET_STORES, Object

RULE = "-" * 80


async def _message(w: World, name: str = "app") -> str:
    """The message of the only UpdateFailed Event."""
    (event,) = await w.until(lambda: w.events(name, "UpdateFailed"))
    assert (event["type"], event["source"]) == ("Warning", {"component": "external-secrets"})
    message: str = event["message"]
    return message


@run
async def test_a_failure_keeps_the_marks_of_the_last_success_and_names_the_cause_in_the_event_alone() -> None:
    """Ready turns False with the general message; refreshTime and version stay; the Event says what the vault said."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        before = (await w.apply("app", "key=api-key"))["status"]
        vault.delete("api-key")
        w.clock.advance(30)
        await w.force_sync("app")
        message = await _message(w)
        assert message == "error processing spec.data[0] (key: api-key), err: Secret does not exist"
        after = (await w.settled("app"))["status"]
        assert [after[k] for k in ("refreshTime", "syncedResourceVersion", "binding")] == [
            before[k] for k in ("refreshTime", "syncedResourceVersion", "binding")
        ]
        (ready,) = after["conditions"]
        assert (ready["status"], ready["reason"]) == ("False", "SecretSyncedError")
        assert ready["message"] == "could not get secret data from provider"
        assert ready["lastTransitionTime"] > before["conditions"][0]["lastTransitionTime"]
        assert await w.data("app") == {"key": b"v1"}


@pytest.mark.parametrize("code", ["AccessDenied", "ForbiddenByRbac", "ForbiddenByFirewall"])
def test_denied_by_the_vault_in_the_words_of_the_new_sdk(code: str) -> None:
    """A 403 is reported with request, status, and the vault's own body with the inner code."""

    @run
    async def play() -> None:
        async with world() as w:
            w.vaults.vault("prod-kv").set("api-key", "v1")
            w.vaults.fault(f"403:{code}", identity="eso")
            await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "key=api-key"))
            message = await _message(w)
            assert message.startswith(
                "error processing spec.data[0] (key: api-key), err: GET https://prod-kv.vault.azure.net/secrets/api-key/"
                f"\n{RULE}\nRESPONSE 403: 403 Forbidden\nERROR CODE: Forbidden\n{RULE}\n{{\n"
                '  "error": {\n    "code": "Forbidden",\n    "message": "'
            )
            assert message.endswith(f'    "innererror": {{\n      "code": "{code}"\n    }}\n  }}\n}}\n{RULE}\n')

    play()


@run
async def test_denied_and_disabled_in_the_words_of_the_legacy_sdk() -> None:
    """The legacy SDK says it in one line; a disabled secret differs only in the inner code."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1", enabled=False)
        await w.client.create(SECRET_STORES, NS, store("prod-kv", "legacy", new_sdk=False))
        spec: dict[str, Any] = {"secretStoreRef": {"name": "legacy"}}
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "key=secret/api-key", **spec))
        assert await _message(w) == (
            "error processing spec.data[0] (key: secret/api-key), err: keyvault.BaseClient#GetSecret: Failure "
            "responding to request: StatusCode=403 -- Original Error: autorest/azure: Service returned an error. "
            'Status=403 Code="Forbidden" Message="Operation get is not allowed on a disabled secret." '
            'InnerError={"code":"SecretDisabled"}'
        )
        vault.update("api-key", enabled=True)
        w.vaults.fault("403:ForbiddenByRbac", identity="eso")
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("denied", "key=api-key", **spec))
        message = await _message(w, "denied")
        assert 'Status=403 Code="Forbidden" Message="Caller is not authorized to perform action on resource.' in message
        assert message.endswith('InnerError={"code":"ForbiddenByRbac"}')


@run
async def test_throttling_is_waited_out_inside_the_sync() -> None:
    """A 429 with Retry-After leaves no Event when it passes; refreshTime is when the sync began."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        w.vaults.fault("429:20", identity="eso", times=1)
        begun = w.clock.now()
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "key=api-key"))

        async def throttled() -> bool:
            return any(r.code == 429 for r in w.vaults.audit)

        await w.until(throttled)
        await w.secret("app")
        assert not w.eso.idle
        w.clock.advance(21)
        await w.until(lambda: w.ready("app"))
        es = await w.settled("app")
        assert w.clock.rfc3339(begun) <= es["status"]["refreshTime"] < w.clock.rfc3339(begun + 15)
        assert [e["reason"] for e in await w.events("app")] == ["Created"]


@run
async def test_throttling_that_does_not_pass_is_reported_after_four_tries() -> None:
    """The fourth 429 is the answer: Code Throttled in the Event."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        w.vaults.fault("429:1", identity="eso", times=4)
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "key=api-key"))
        for tries in (1, 2, 3):

            async def tried(tries: int = tries) -> bool:
                return sum(1 for r in w.vaults.audit if r.code == 429) == tries

            await w.until(tried)
            w.clock.advance(2)
        message = await _message(w)
        assert "RESPONSE 429: 429 Too Many Requests\nERROR CODE: Throttled\n" in message


@run
async def test_each_sync_asks_first_without_a_token_and_the_legacy_sdk_never_does() -> None:
    """The new SDK: a 401, then the get, api-version 7.6. The legacy SDK: one get, 7.0."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        azure = store("prod-kv", "legacy", new_sdk=False)
        azure["spec"]["provider"]["azurekv"]["tenantId"] = w.vaults.tenant
        await w.client.create(SECRET_STORES, NS, azure)
        for name, expected in (("prod", [(401, "7.6"), (200, "7.6")]), ("legacy", [(200, "7.0")])):
            w.vaults.audit.clear()
            await w.apply(name, "key=api-key", secretStoreRef={"name": name})
            asked = [(r.code, r.api_version) for r in w.vaults.audit if r.vault == "prod-kv"]
            assert asked == expected


@run
async def test_failures_are_retried_after_1_2_and_4_seconds_and_a_change_does_not_wait() -> None:
    """Each failure doubles the wait, on the world's clock; an annotation is tried at once."""
    async with world() as w:
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "key=absent"))

        async def failures(count: int) -> None:
            async def reached() -> bool:
                events = await w.events("app", "UpdateFailed")
                return bool(sum(event["count"] for event in events) == count)

            await w.until(reached)
            await w.settled("app")

        await failures(1)
        w.clock.advance(1)
        await failures(2)
        w.clock.advance(2)
        await failures(3)
        w.clock.advance(2)
        await w.settled("app")
        await failures(3)
        w.clock.advance(2)
        await failures(4)
        await w.force_sync("app")
        await failures(5)
        assert [ok for _, _, _, ok in w.eso.syncs] == [False] * 5
        w.vaults.vault("prod-kv").set("absent", "v1")
        w.clock.advance(420)
        await w.until(lambda: w.secret("app"))


@run
async def test_a_store_that_does_not_exist_is_named_and_found_once_it_does() -> None:
    """A missing store is the provider's error; when it comes, so does the Secret."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        es = external_secret("app", "key=api-key", secretStoreRef={"name": "late"})
        await w.client.create(EXTERNAL_SECRETS, NS, es)
        assert await _message(w) == (
            'error processing spec.data[0] (key: api-key), err: could not get SecretStore "late", '
            'SecretStore.external-secrets.io "late" not found'
        )
        await w.client.create(SECRET_STORES, NS, store("prod-kv", "late"))
        w.clock.advance(420)
        await w.until(lambda: w.secret("app"))


@run
async def test_stores_of_azure_are_valid_at_first_sight_whatever_is_behind_them() -> None:
    """A SecretStore and a ClusterSecretStore get Ready, reason Valid, though no such vault answers."""
    async with world() as w:
        await w.client.create(SECRET_STORES, NS, store("nowhere-kv", "wrong"))
        await create_cluster_store(w, "wide", "nowhere-kv")

        async def ready(resource: Any, namespace: str | None, name: str) -> list[Object]:
            found = await w.client.get(resource, namespace, name)
            conditions: list[Object] = (found.get("status") or {}).get("conditions") or []
            return conditions

        for resource, namespace, name in ((SECRET_STORES, NS, "wrong"), (CLUSTER_SECRET_STORES, None, "wide")):
            (condition,) = await w.until(lambda a=(resource, namespace, name): ready(*a))  # type: ignore[misc]
            assert (condition["status"], condition["reason"]) == ("True", "Valid")
            assert condition["message"] == "store validated"


@run
async def test_a_cluster_store_that_does_not_admit_the_namespace_is_an_error() -> None:
    """The conditions of a ClusterSecretStore decide which namespaces may use it."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await create_cluster_store(w, "closed", "prod-kv", conditions=[{"namespaces": ["elsewhere"]}])
        await create_cluster_store(w, "open", "prod-kv", conditions=[{"namespaceRegexes": ["^sh"]}])
        refs = {name: {"name": name, "kind": "ClusterSecretStore"} for name in ("closed", "open")}
        es = external_secret("app", "key=api-key", secretStoreRef=refs["closed"])
        await w.client.create(EXTERNAL_SECRETS, NS, es)
        assert (await _message(w)).endswith(
            'err: using cluster store "closed" is not allowed from namespace "shop": denied by spec.condition'
        )
        await w.apply("other", "key=api-key", secretStoreRef=refs["open"])
        assert await w.data("other") == {"key": b"v1"}


@run
async def test_an_externalsecret_of_another_controller_class_is_ignored_entirely() -> None:
    """Its store belongs to another ESO: no finalizer, no status, no Event, no Secret."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.client.create(SECRET_STORES, NS, store("prod-kv", "foreign", controller="other"))
        es = external_secret("app", "key=api-key", secretStoreRef={"name": "foreign"})
        await w.client.create(EXTERNAL_SECRETS, NS, es)
        await w.apply("after", "key=api-key")
        found = await w.external_secret("app")
        assert "status" not in found
        assert "finalizers" not in found["metadata"]
        assert await w.secret("app") is None
        assert await w.events("app") == []
        assert (NS, "app") not in w.eso.refused


REFUSED: dict[str, dict[str, Any]] = {
    "generators": {"dataFrom": [{"sourceRef": {"generatorRef": {"kind": "Password", "name": "p"}}}]},
    "target.manifest": {"target": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}},
    "rewrite": {"dataFrom": [{"extract": {"key": "k"}, "rewrite": [{"regexp": {"source": "a", "target": "b"}}]}]},
    "templateFrom": {"target": {"template": {"templateFrom": [{"literal": "a: b"}]}}},
    "more than text": {"target": {"template": {"data": {"x": "{{ .a | upper }}"}}}},
    "duration": {"refreshInterval": "soon"},
    "schedule": {"syncWindows": {"kind": "deny", "windows": [{"schedule": "@every 5m", "duration": "1h"}]}},
    "provider other than azurekv": {"secretStoreRef": {"name": "aws"}},
}


@run
async def test_what_this_eso_does_not_do_it_refuses_loudly() -> None:
    """An ExternalSecret that needs more than this actor knows is named with the reason and gets no answer at all."""
    async with world(started=False) as w:
        w.vaults.vault("prod-kv").set("k", "v1")
        await w.client.create(
            SECRET_STORES, NS,
            {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "aws"},
             "spec": {"provider": {"aws": {"service": "SecretsManager"}}}},
        )  # fmt: skip
        keys = {reason: [] if "dataFrom" in spec else ["a=k"] for reason, spec in REFUSED.items()}
        names = {f"app-{number}": reason for number, reason in enumerate(REFUSED)}
        status = {"refreshTime": "2020-01-01T00:00:00Z", "syncedResourceVersion": "1-x"}
        for name, reason in names.items():
            es = external_secret(name, *keys[reason], **REFUSED[reason])
            await w.client.create(EXTERNAL_SECRETS, NS, es)
            if reason == "schedule":
                version = "1-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"
                new = {**await w.external_secret(name), "status": {**status, "syncedResourceVersion": version}}
                await w.client.replace(EXTERNAL_SECRETS, NS, new, subresource="status")
        start(w)
        await w.apply("last", "a=k")
        for name, reason in names.items():
            assert reason in w.eso.refused[NS, name]
            assert not (await w.external_secret(name)).get("status", {}).get("conditions")
            assert await w.events(name) == []


@run
async def test_malformed_objects_stop_nobody_else() -> None:
    """An ExternalSecret or a store that makes no sense is refused by name; the others are synced."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("k", "v1")
        kind = {"apiVersion": "external-secrets.io/v1"}
        await w.client.create(SECRET_STORES, NS, {**kind, "kind": "SecretStore", "metadata": {"name": "bare"}})
        specs: list[dict[str, Any]] = [
            {},
            {"data": "x"},
            {"data": [{}]},
            {"target": {"template": "x"}},
            {"dataFrom": [{"extract": 1}]},
        ]
        for number, spec in enumerate(specs):
            metadata = {"name": f"bad-{number}", "namespace": NS}
            body = {"secretStoreRef": {"name": "prod"}, **spec}
            w.server.seed({**kind, "kind": "ExternalSecret", "metadata": metadata, "spec": body})
        es = external_secret("lost", "k=k", secretStoreRef={"name": "bare"})
        await w.client.create(EXTERNAL_SECRETS, NS, es)
        await w.apply("good", "k=k")
        assert await w.data("good") == {"k": b"v1"}
        assert {(NS, "bad-1"), (NS, "bad-2"), (NS, "bad-3"), (NS, "bad-4"), (NS, "lost")} <= w.eso.refused.keys()


@run
async def test_a_vault_that_drops_connections_or_talks_nonsense_is_reported() -> None:
    """No answer and no JSON are failures of the sync like any other."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("k", "v1")
        w.vaults.fault("garbage", identity="eso", times=1)
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("app", "k=k"))
        assert "unmarshalling type *azsecrets.Secret" in await _message(w)
        await w.client.create(SECRET_STORES, NS, store("unknown-kv", "nowhere"))
        es = external_secret("lost", "k=k", secretStoreRef={"name": "nowhere"})
        await w.client.create(EXTERNAL_SECRETS, NS, es)

        async def reported() -> Any:
            w.clock.advance(10)
            return await w.events("lost", "UpdateFailed")

        await w.until(reported)
        assert 'Get "https://unknown-kv.vault.azure.net/secrets/k/?api-version=7.6": ' in await _message(w, "lost")


@run
async def test_a_refused_externalsecret_is_taken_up_once_it_is_simple_enough() -> None:
    """A refusal ends with the change of the spec that caused it."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("k", "v1")
        es = external_secret("app", "a=k", target={"template": {"data": {"x": "{{ .a | upper }}"}}})
        await w.client.create(EXTERNAL_SECRETS, NS, es)

        async def refused() -> bool:
            return (NS, "app") in w.eso.refused

        await w.until(refused)
        await w.client.merge_patch(EXTERNAL_SECRETS, NS, "app", {"spec": {"target": {"template": None}}})
        await w.until(lambda: w.secret("app"))
        await w.settled("app")
        assert w.eso.refused == {}

"""What an SRE sees of ESO when it syncs: the behaviour verified on the real controller, sentence by sentence."""

from typing import Any

from eso_world import FORCE, HASH, MANAGED, NS, World, expected_version, external_secret, run, world

from agent.esohash import field_manager
from agent.sandbox.client import EXTERNAL_SECRETS, SECRETS, Object


def _written(secret: Object, name: str) -> str:
    """The time of ESO's own entry in the managedFields."""
    manager = field_manager(name)
    entry = next(e for e in secret["metadata"]["managedFields"] if e["manager"] == manager)
    time: str = entry["time"]
    return time


@run
async def test_a_first_sync_leaves_the_secret_its_marks_and_the_status() -> None:
    """A new ExternalSecret gets its Secret with data, label, hash, owner and manager, and a status that says so."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        es = await w.apply("app", "key=api-key")
        secret = await w.secret("app")
        assert secret is not None
        assert await w.data("app") == {"key": b"v1"}
        owner = secret["metadata"]["ownerReferences"]
        assert owner == [
            {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "app", "controller": True,
             "uid": es["metadata"]["uid"], "blockOwnerDeletion": True}
        ]  # fmt: skip
        assert secret["metadata"]["labels"][MANAGED] == "true"
        assert {e["manager"] for e in secret["metadata"]["managedFields"]} == {field_manager("app")}
        assert es["metadata"]["finalizers"] == ["externalsecrets.external-secrets.io/externalsecret-cleanup"]
        status = es["status"]
        assert status["syncedResourceVersion"] == expected_version(es)
        assert status["binding"] == {"name": "app"}
        ready = await w.ready("app")
        assert ready is not None
        assert (ready["status"], ready["reason"], ready["message"]) == ("True", "SecretSynced", "secret synced")
        assert [(e["reason"], e["message"], e["source"]["component"]) for e in await w.events("app")] == [
            ("Created", "secret created", "external-secrets")
        ]
        assert w.eso.syncs[-1][1:] == (NS, "app", True)


@run
async def test_any_annotation_is_acknowledged_with_the_predicted_version() -> None:
    """Whatever annotation is set, the status soon shows the predicted version and the Secret the newest value."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        await w.apply("app", "key=api-key")
        for number, key in enumerate(("force-sync", FORCE, "example.test/anything")):
            vault.set("api-key", f"v{number + 2}")
            await w.acknowledged("app", await w.force_sync("app", str(number), key))
            assert await w.data("app") == {"key": f"v{number + 2}".encode()}


@run
async def test_a_force_sync_without_new_data_still_writes_the_secret() -> None:
    """The copied annotation moves the Secret's resourceVersion and the time of ESO's entry; the data is the same."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        before = await w.secret("app")
        w.clock.advance(5)
        await w.acknowledged("app", await w.force_sync("app"))
        after = await w.secret("app")
        assert before is not None
        assert after is not None
        assert after["metadata"]["annotations"][FORCE] == "1"
        assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        assert _written(after, "app") > _written(before, "app")
        assert after["data"] == before["data"]
        assert after["metadata"]["annotations"][HASH] == before["metadata"]["annotations"][HASH]


@run
async def test_a_deleted_owner_target_comes_back_by_itself() -> None:
    """A deleted Secret is made anew with another uid though nobody touched the ExternalSecret."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        before = await w.secret("app")
        assert before is not None
        await w.client.delete(SECRETS, NS, "app")
        after = await w.until(lambda: w.secret("app"))
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert await w.data("app") == {"key": b"v1"}


@run
async def test_a_deleted_target_stays_gone_while_the_vault_has_no_such_secret() -> None:
    """Without the vault's secret a deleted Secret stays away, until the vault has it again."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        await w.apply("app", "key=api-key")
        vault.delete("api-key")
        await w.client.delete(SECRETS, NS, "app")
        await w.until(lambda: w.events("app", "UpdateFailed"))
        await w.settled("app")
        assert await w.secret("app") is None
        vault.recover("api-key")
        w.clock.advance(10)
        await w.until(lambda: w.secret("app"))


@run
async def test_tampered_data_is_undone_at_once() -> None:
    """Data that does not fit the hash is overwritten with the vault's, before any refresh is due."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        await w.client.merge_patch(SECRETS, NS, "app", {"data": {"key": "dGFtcGVyZWQ=", "foreign": "eA=="}})

        async def undone() -> bool:
            return await w.data("app") == {"key": b"v1"}

        await w.until(undone)
        assert [e["reason"] for e in await w.events("app")] == ["Created", "Updated"]


@run
async def test_a_restore_with_matching_marks_and_one_without_the_label_go_unnoticed() -> None:
    """An old Secret put back with its own hash, or one whose label was taken away with the change, stays."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        await w.apply("app", "key=api-key")
        old = await w.secret("app")
        assert old is not None
        vault.set("api-key", "v2")
        await w.acknowledged("app", await w.force_sync("app"))
        restored = {"data": old["data"], "metadata": {"annotations": {HASH: old["metadata"]["annotations"][HASH]}}}
        await w.client.merge_patch(SECRETS, NS, "app", restored)
        await w.settled("app")
        assert await w.data("app") == {"key": b"v1"}
        hidden = {"data": {"key": "eA=="}, "metadata": {"labels": {MANAGED: None}}}
        await w.client.merge_patch(SECRETS, NS, "app", hidden)
        await w.settled("app")
        assert await w.data("app") == {"key": b"x"}


@run
async def test_a_foreign_annotation_survives_a_force_sync_but_not_a_recreate() -> None:
    """What others annotate on the Secret is kept by a sync and lost with the Secret."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        await w.client.merge_patch(SECRETS, NS, "app", {"metadata": {"annotations": {"mine": "yes"}}})
        await w.acknowledged("app", await w.force_sync("app"))
        secret = await w.secret("app")
        assert secret is not None
        assert secret["metadata"]["annotations"]["mine"] == "yes"
        await w.client.delete(SECRETS, NS, "app")
        again = await w.until(lambda: w.secret("app"))
        assert "mine" not in again["metadata"]["annotations"]


@run
async def test_the_annotation_goes_from_the_secret_when_it_goes_from_the_externalsecret() -> None:
    """A copied annotation is taken away again, but not where the ExternalSecret's name has 28 to 63 characters."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        for name, kept in (("app", False), ("a" * 28, True)):
            await w.apply(name, "key=api-key")
            await w.acknowledged(name, await w.force_sync(name))
            patch = {"metadata": {"annotations": {FORCE: None}}}
            answer = await w.client.merge_patch(EXTERNAL_SECRETS, NS, name, patch)
            await w.acknowledged(name, expected_version(answer))
            secret = await w.secret(name)
            assert secret is not None
            assert (FORCE in secret["metadata"]["annotations"]) is kept


@run
async def test_an_immutable_target_is_synced_without_getting_the_new_value() -> None:
    """target.immutable: acknowledged and Ready, refreshTime moves, yet the old value stays until the Secret goes."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        es = await w.apply("app", "key=api-key", target={"immutable": True})
        before = await w.secret("app")
        assert before is not None
        assert before["immutable"] is True
        vault.set("api-key", "v2")
        w.clock.advance(5)
        after = await w.acknowledged("app", await w.force_sync("app"))
        assert after["status"]["refreshTime"] > es["status"]["refreshTime"]
        assert [c["status"] for c in after["status"]["conditions"]] == ["True"]
        assert await w.secret("app") == before
        await w.client.delete(SECRETS, NS, "app")
        await w.until(lambda: w.secret("app"))
        assert await w.data("app") == {"key": b"v2"}


@run
async def test_an_immutable_secret_that_should_change_bears_the_hash_of_what_was_not_written() -> None:
    """Without target.immutable ESO fails on it, and only the marks move."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        await w.apply("app", "key=api-key")
        await w.client.merge_patch(SECRETS, NS, "app", {"immutable": True})
        before = await w.secret("app")
        vault.set("api-key", "v2")
        await w.force_sync("app")
        await w.until(lambda: w.events("app", "UpdateFailed"))
        await w.settled("app")
        ready, after = await w.ready("app"), await w.secret("app")
        assert ready is not None
        assert before is not None
        assert after is not None
        assert ready["message"] == "could not update secret, target is immutable"
        assert after["data"] == before["data"]
        assert after["metadata"]["annotations"][HASH] != before["metadata"]["annotations"][HASH]


@run
async def test_events_count_instead_of_repeating() -> None:
    """The same message on the same ExternalSecret raises the count of one Event."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        for number in range(3):
            await w.acknowledged("app", await w.force_sync("app", str(number)))
        await w.settled("app")
        assert [(e["reason"], e["count"]) for e in await w.events("app")] == [("Created", 1), ("Updated", 3)]


@run
async def test_a_periodic_refresh_comes_when_the_interval_is_over() -> None:
    """A new version reaches the Secret when the refresh interval has passed, and not before."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        await w.apply("app", "key=api-key", refreshInterval="10m")
        vault.set("api-key", "v2")
        w.clock.advance(590)
        await w.settled("app")
        assert await w.data("app") == {"key": b"v1"}
        w.clock.advance(15)

        async def refreshed() -> bool:
            return await w.data("app") == {"key": b"v2"}

        await w.until(refreshed)


async def _pinned(w: World, **spec: Any) -> None:
    vault = w.vaults.vault("prod-kv")
    vault.set("api-key", "v1")
    await w.apply("app", "key=api-key", **spec)
    vault.set("api-key", "v2")
    await w.force_sync("app")
    w.clock.advance(86400)
    await w.settled("app")
    assert await w.data("app") == {"key": b"v1"}
    await w.client.delete(SECRETS, NS, "app")
    await w.until(lambda: w.secret("app"))
    assert await w.data("app") == {"key": b"v2"}


@run
async def test_interval_0_ignores_force_sync_but_not_a_deleted_secret() -> None:
    """With refreshInterval 0 only a deleted Secret brings the new value."""
    async with world() as w:
        await _pinned(w, refreshInterval="0")


@run
async def test_created_once_ignores_force_sync_but_not_a_deleted_secret() -> None:
    """With refreshPolicy CreatedOnce only a deleted Secret brings the new value."""
    async with world() as w:
        await _pinned(w, refreshPolicy="CreatedOnce")


@run
async def test_an_annotation_taken_away_during_the_sync_leaves_the_status_as_it_was() -> None:
    """The Secret gets the new value, but the status of the sync meets a changed ExternalSecret and is not written."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        before = await w.apply("app", "key=api-key")
        vault.set("api-key", "v2")

        async def strip(phase: str, request: Any) -> None:
            if phase == "before" and request.verb == "update" and request.resource == "secrets":
                w.server.on_request = None
                await w.client.merge_patch(EXTERNAL_SECRETS, NS, "app", {"metadata": {"annotations": {FORCE: None}}})

        w.server.on_request = strip
        w.clock.advance(5)
        await w.force_sync("app")

        async def new_value() -> bool:
            return await w.data("app") == {"key": b"v2"}

        await w.until(new_value)
        after = await w.settled("app")
        assert after["status"] == before["status"]


@run
async def test_a_renamed_target_takes_the_old_secret_away() -> None:
    """When target.name changes, the Secret under the old name is deleted as an orphan."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key")
        await w.client.merge_patch(EXTERNAL_SECRETS, NS, "app", {"spec": {"target": {"name": "other"}}})
        await w.until(lambda: w.secret("other"))
        await w.settled("app")
        assert await w.secret("app") is None
        assert "secret deleted because it was orphaned" in [e["message"] for e in await w.events("app", "Deleted")]


@run
async def test_a_deleted_externalsecret_loses_its_finalizer_and_its_secret() -> None:
    """Deleting the ExternalSecret removes the finalizer, and the owned Secret goes with it."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        for name, target in (("app", {}), ("other", {"deletionPolicy": "Delete"})):
            await w.apply(name, "key=api-key", target=target)
            await w.client.delete(EXTERNAL_SECRETS, NS, name)

            async def gone(name: str = name) -> bool:
                return await w.secret(name) is None

            await w.until(gone)
            assert await w.client.get_or_none(EXTERNAL_SECRETS, NS, name) is None


@run
async def test_the_managed_label_comes_before_everything_else() -> None:
    """A Secret that was there is labelled under creationPolicy None and while the vault fails, and gets no hash."""
    async with world() as w:
        for name, target in (("none", {"creationPolicy": "None"}), ("owner", {})):
            await w.client.create(SECRETS, NS, {"kind": "Secret", "metadata": {"name": name}, "data": {"x": "eA=="}})
            await w.client.create(EXTERNAL_SECRETS, NS, external_secret(name, "key=absent", target=target))
            await w.until(lambda name=name: w.events(name, "UpdateFailed"))  # type: ignore[misc]
            secret = await w.secret(name)
            assert secret is not None
            assert secret["metadata"]["labels"] == {MANAGED: "true"}
            assert HASH not in secret["metadata"].get("annotations", {})


@run
async def test_an_orphan_is_not_recreated_and_not_repaired_before_the_next_refresh() -> None:
    """creationPolicy Orphan: neither deletion nor tampering wakes ESO; a force-sync does."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key", target={"creationPolicy": "Orphan"})
        await w.client.merge_patch(SECRETS, NS, "app", {"data": {"key": "eA=="}})
        await w.settled("app")
        assert await w.data("app") == {"key": b"x"}
        await w.client.delete(SECRETS, NS, "app")
        await w.settled("app")
        assert await w.secret("app") is None
        await w.acknowledged("app", await w.force_sync("app"))
        assert await w.data("app") == {"key": b"v1"}


@run
async def test_a_merge_target_is_never_created_but_repaired() -> None:
    """creationPolicy Merge: without a Secret Ready with reason SecretMissing; with one its own keys are repaired."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("app", "key=api-key", target={"creationPolicy": "Merge"})
        ready = await w.ready("app")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("True", "SecretMissing")
        await w.client.create(SECRETS, NS, {"kind": "Secret", "metadata": {"name": "app"}, "data": {"x": "eA=="}})
        await w.acknowledged("app", await w.force_sync("app"))

        async def merged() -> bool:
            return await w.data("app") == {"x": b"x", "key": b"v1"}

        await w.until(merged)
        await w.client.merge_patch(SECRETS, NS, "app", {"data": {"key": "eA=="}})
        await w.until(merged)

"""The recorded answers of the real ESO, asked again of the actor, through an API server and vaults on the wire."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from eso_world import FORCE, World, create_cluster_store, expected_version, store, world

from agent.sandbox.client import (
    CONFIG_MAPS,
    EVENTS,
    EXTERNAL_SECRETS,
    SECRET_STORES,
    SECRETS,
    ApiError,
    Object,
)
from agent.sandbox.keyvault.store import Vault

NS = "vec"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mapping.json").read_text())
CASES: list[dict[str, Any]] = VECTORS["cases"]
STORES: dict[str, dict[str, Any]] = VECTORS["stores"]

COMPLETE = frozenset(
    {"plain", "version", "decode", "nullbyte", "extract", "convert", "sourceref", "target", "creation", "deletion",
     "immutable"}
)  # fmt: skip
"""Families of which every case is reproduced."""
MOSTLY = {"key": 11, "property": 43, "find": 24, "precedence": 7, "template": 24, "template-meta": 8, "metadata": 1}
"""How many cases are reproduced of the families of which some are refused; the others are refused altogether."""
FLOOR = 246
"""Cases reproduced in all."""
ELSEWHERE = frozenset({"convert-superscript"})
"""Cases whose text is the API server's own, in which this one's still differs."""


class Case:
    """One case in the common world: its stores and vaults are its own, so that nothing else is in them."""

    def __init__(self, w: World, case: dict[str, Any], number: int) -> None:
        self.w, self.case, self.name = w, case, case["id"]
        self.suffix = f"-x{number}x"
        self.target = (case["spec"].get("target") or {}).get("name") or self.name

    async def play(self) -> Any:
        """What came of it, or the reason why the actor refuses."""
        await self._stores()
        states = [*self.case.get("history", []), self.case]
        for index, state in enumerate(states):
            self._fill(state.get("vault", {}))
            if index == 0:
                await self._cluster()
            await self._apply(state, index)
            if reason := await self._done():
                return reason
        return await self._result()

    async def _stores(self) -> None:
        for name, about in STORES.items():
            vault, new_sdk = about["vault"] + self.suffix, about["useAzureSDK"]
            self.w.vaults.vault(vault)
            if about["kind"] == "SecretStore":
                await self.w.client.create(SECRET_STORES, NS, store(vault, name + self.suffix, new_sdk=new_sdk))
            elif "ClusterSecretStore" in json.dumps(self.case["spec"]):
                await create_cluster_store(self.w, name + self.suffix, vault)

    def _fill(self, contents: dict[str, list[dict[str, Any]]]) -> None:
        for name in ("prod-kv", "other-kv"):
            vault, wanted = self.w.vaults.vault(name + self.suffix), contents.get(name, [])
            for gone in set(vault.names()) - {entry["name"] for entry in wanted}:
                vault.delete(gone)
            for secret in dict.fromkeys(entry["name"] for entry in wanted):
                _put(vault, secret, [entry for entry in wanted if entry["name"] == secret])

    async def _cluster(self) -> None:
        for about in self.case.get("cluster", []):
            resource = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}[about["kind"]]
            metadata: dict[str, Any] = {key: about[key] for key in ("name", "labels", "annotations") if key in about}
            if "controlledBy" in about:
                kind, _, owner = about["controlledBy"].partition("/")
                uid = (await self.w.client.get(CONFIG_MAPS, NS, owner))["metadata"]["uid"]
                reference = {"apiVersion": "v1", "kind": kind, "name": owner, "uid": uid, "controller": True}
                metadata["ownerReferences"] = [reference]
            body = {key: about[key] for key in ("kind", "type", "data", "immutable") if key in about}
            try:
                await self.w.client.create(resource, NS, {"apiVersion": "v1", **body, "metadata": metadata})
            except ApiError as error:
                if error.code != 409:
                    raise

    async def _apply(self, state: dict[str, Any], index: int) -> None:
        spec = json.loads(json.dumps(state["spec"]))
        refs = [spec.get("secretStoreRef")]
        refs += [
            entry.get("sourceRef", {}).get("storeRef") for part in ("data", "dataFrom") for entry in spec.get(part, [])
        ]
        for ref in refs:
            if ref and ref["name"] in STORES:
                ref["name"] += self.suffix
        metadata = json.loads(json.dumps(state.get("metadata", {}))) | {"name": self.name, "namespace": NS}
        body: Object = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "spec": spec}
        if index == 0:
            self.current = await self.w.client.create(EXTERNAL_SECRETS, NS, {**body, "metadata": metadata})
            return
        for _ in range(5):
            live = await self.w.client.get(EXTERNAL_SECRETS, NS, self.name)
            kept = {key: live["metadata"][key] for key in ("resourceVersion", "finalizers", "uid")}
            annotations = {**metadata.get("annotations", {}), FORCE: str(index)}
            body["metadata"] = {**metadata, **kept, "annotations": annotations}
            try:
                self.current = await self.w.client.replace(EXTERNAL_SECRETS, NS, body)
                return
            except ApiError as error:
                if error.code != 409:
                    raise

    async def _done(self) -> str:
        """Wait until ESO has dealt with the present state; the reason if it refuses to."""
        async with asyncio.timeout(30):
            while True:
                if refusal := self.w.eso.refused.get((NS, self.name)):
                    return refusal
                status = (await self.w.client.get(EXTERNAL_SECRETS, NS, self.name)).get("status") or {}
                ready = [c["status"] for c in status.get("conditions") or []]
                if ready == ["False"] or status.get("syncedResourceVersion") == expected_version(self.current):
                    return ""
                await asyncio.sleep(0.1)

    async def _result(self) -> dict[str, Any]:
        found = await self.w.client.get(EXTERNAL_SECRETS, NS, self.name)
        secret = await self.w.client.get_or_none(SECRETS, NS, self.target)
        condition = found["status"]["conditions"][0]
        events = await self.w.client.list(EVENTS, NS, fieldSelector=f"involvedObject.name={self.name}")
        said = {e["message"].replace(self.suffix, "") for e in events if e["reason"] == "UpdateFailed"}
        missing = sorted(e["message"] for e in events if e["reason"] == "MissingProviderSecret")
        result: dict[str, Any] = {
            "ready": condition["status"] == "True",
            "reason": condition["reason"],
            "message": condition["message"],
            "event": said.pop() if said else None,
            **dict.fromkeys(("type", "data", "labels", "annotations", "ownerReferences", "immutable")),
        }
        assert not said, said
        if missing:
            result["missing"] = missing
        if secret:
            metadata = secret["metadata"]
            result |= {
                "type": secret["type"],
                "data": secret.get("data") or {},
                "labels": metadata.get("labels") or {},
                "annotations": {k: v for k, v in (metadata.get("annotations") or {}).items() if k != FORCE},
                "ownerReferences": [owner["kind"] for owner in metadata.get("ownerReferences") or []],
                "immutable": secret.get("immutable", False),
            }
        return result


def _put(vault: Vault, name: str, versions: list[dict[str, Any]]) -> None:
    if vault.deleted.find(name):
        vault.recover(name)
    present = len(vault.versions(name)) if name in vault.names() else 0
    for entry in versions[present:]:
        vault.set(
            name,
            entry["value"],
            created=entry.get("created"),
            enabled=entry.get("enabled", True),
            exp=entry.get("exp"),
            nbf=entry.get("nbf"),
            tags=entry.get("tags"),
            content_type=entry.get("contentType"),
            version=entry.get("version"),
        )
    for entry, version in zip(versions, vault.versions(name), strict=True):
        if version.enabled != entry.get("enabled", True):
            vault.update(name, version.version, enabled=entry.get("enabled", True))
    if versions[-1].get("deleted"):
        vault.delete(name)


async def _play_all(cases: list[dict[str, Any]]) -> dict[str, Any]:
    async with world(namespace=NS, concurrent=4) as w, asyncio.TaskGroup() as tasks:
        gate = asyncio.Semaphore(40)

        async def play(number: int, case: dict[str, Any]) -> Any:
            async with gate:
                return await Case(w, case, number).play()

        played = {case["id"]: tasks.create_task(play(number, case)) for number, case in enumerate(cases)}
        return {name: await task for name, task in played.items()}


def _recorded(case: dict[str, Any]) -> list[dict[str, Any]]:
    results = [case["result"], *case.get("variants", [])]
    return [{k: sorted(v) if k == "missing" else v for k, v in r.items() if k != "otherSecrets"} for r in results]


def test_the_actor_answers_as_eso_did_or_refuses() -> None:
    """Every recorded case ends exactly as with the real ESO, or the actor says that it cannot do it.

    The families that worlds are made of are reproduced whole, others in part; no case is given up silently.
    """
    answers = asyncio.run(_play_all(CASES))
    played = [case for case in CASES if not isinstance(answers[case["id"]], str)]
    wrong = {case["id"]: answers[case["id"]] for case in played if answers[case["id"]] not in _recorded(case)}
    assert {name: answer for name, answer in wrong.items() if name not in ELSEWHERE} == {}
    for family, about in VECTORS["families"].items():
        expected = about["cases"] if family in COMPLETE else MOSTLY.get(family, 0)
        assert sum(1 for case in played if case["family"] == family) >= expected, family
    assert len(played) >= FLOOR

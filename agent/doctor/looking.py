"""Asks the API server all that ``checks`` judges. Reads, reviews of our own rights, and trials that are not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import msgspec

from agent.bounds import PREFIX
from agent.cluster import access, discovery, installed
from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Conflict, Unreachable, trouble_of
from agent.cluster.reader import list_all
from agent.cluster.resources import PARTIAL_LIST, RESOURCES
from agent.cluster.stored import list_stored, read_stored
from agent.cluster.writer import Writer
from agent.doctor.facts import Admission, Controller, Eso, Hook, Ledger, Offset, Rights, Server, Stores, Unseen
from agent.doctor.lines import Permission
from agent.ledger import KEY_NAME
from agent.ledger.keys import SHORTEST
from agent.ledger.ledger import SELECTOR
from agent.model import ObjectKey, Trouble
from agent.policy import Policy

T = TypeVar("T")
_PROBLEMS = (ApiProblem, BadAnswer)
"""What one check may meet without ending the others; who cannot be reached ends them all."""


class _Meta(msgspec.Struct):
    name: str
    namespace: str
    uid: str


class _Item(msgspec.Struct):
    metadata: _Meta


class _Items(msgspec.Struct):
    items: list[_Item]


class Look:
    """One visit to an API server. All methods raise Unreachable, and what they say besides."""

    def __init__(self, conn: Connection, namespaces: tuple[str, ...]) -> None:
        self._conn, self._namespaces = conn, namespaces

    def server(self) -> Server:
        """Who answers there. Raises ApiProblem 401 where our credentials are not accepted."""
        version = ""
        try:
            version = discovery.server_version(self._conn)
        except _PROBLEMS as error:
            if isinstance(error, ApiProblem) and error.code == 401:
                raise
        try:
            user = access.whoami(self._conn)
        except _PROBLEMS:
            user = ""
        return Server(url=self._conn.host, version=version, user=user)

    def machine_offset(self) -> Offset | None:
        """How far this machine's clock is ahead of the API server's."""
        clock = self._conn.clock
        if not clock.knows_server:
            return None
        now, (low, high) = clock.machine_now(), clock.server_bounds()
        return Offset(now - high, now - low)

    def known_namespaces(self) -> tuple[str, ...] | None:
        """The cluster's namespaces; None where they may not be read."""
        try:
            return tuple(each.name for each in list_all(self._conn, "namespaces").items)
        except _PROBLEMS:
            return None

    def eso(self) -> Eso | Trouble:
        """What is served of ESO, and what runs of it; without the trial."""
        try:
            served = discovery.eso_served(self._conn)
        except _PROBLEMS as error:
            return trouble_of(error)
        found = Eso(versions=served.versions, resources=served.resources, push=served.push)
        if "v1" not in served.versions:
            return found
        return msgspec.structs.replace(found, controllers=self._controllers(), hooks=self._hooks())

    def _controllers(self) -> tuple[Controller, ...] | Unseen:
        try:
            found = installed.eso_controllers(self._conn)
        except _PROBLEMS as error:
            return Unseen(_why(error, "deployments"))
        return tuple(
            Controller(
                place=f"{each.namespace}/{each.name}", version=each.version, ready=each.ready, wanted=each.wanted
            )
            for each in found
        )

    def _hooks(self) -> tuple[Hook, ...] | Unseen:
        try:
            found = installed.eso_webhooks(self._conn)
        except _PROBLEMS as error:
            return Unseen(_why(error, "validatingwebhookconfigurations"))
        return tuple(
            Hook(name=each.name, fails_closed=each.failure_policy == "Fail", has_ca=each.has_ca, service=each.service)
            for each in found
        )

    def rights(self, permissions: Iterable[Permission]) -> Rights:
        """The authorizer's answer to each."""
        wanted = list(dict.fromkeys(permissions))
        with ThreadPoolExecutor(8, "review") as pool:
            return Rights(dict(zip(wanted, pool.map(self._may, wanted), strict=True)))

    def _may(self, permission: Permission) -> bool | Trouble:
        try:
            return access.may(self._conn, *permission)
        except _PROBLEMS as error:
            return trouble_of(error)

    def admission(self) -> Admission | Unseen:
        """The policies that bound our writes."""
        try:
            found = installed.admission_policies(self._conn, PREFIX)
        except _PROBLEMS as error:
            return Unseen(_why(error, "validatingadmissionpolicies and their bindings"))
        return Admission(
            names=tuple(each.name for each in found), unbound=tuple(each.name for each in found if not each.bound)
        )

    def stores(self) -> Stores:
        """All stores in reach, or why there are none that may be read."""
        scopes = [("secretstores", namespace) for namespace in self._namespaces or (None,)]
        listings = [self._tried(partial(list_all, self._conn, *scope)) for scope in scopes]
        listings.append(self._tried(partial(list_all, self._conn, "clustersecretstores", None)))
        troubles = [each for each in listings if isinstance(each, Trouble)]
        if len(troubles) == len(listings):
            return troubles[0]
        return tuple(store for each in listings if not isinstance(each, Trouble) for store in each.items)

    def ledger(self, namespace: str, known: tuple[str, ...] | None, rights: Rights) -> Ledger:
        """What is in the agent's own namespace, and whether more can be made there."""
        exists = None if known is None else namespace in known
        if exists is False:
            return Ledger(namespace=namespace, exists=False)
        key = self._tried(lambda: read_stored(self._conn, "secrets", ObjectKey(namespace, KEY_NAME)))
        objects = self._tried(
            lambda: sum(
                len(list_stored(self._conn, kind, namespace, label_selector=SELECTOR))
                for kind in ("configmaps", "secrets")
            )
        )
        good = key if isinstance(key, Trouble) else key is not None and len(key.data.get("key", b"")) >= SHORTEST
        return Ledger(
            namespace=namespace, exists=exists, key=good, objects=objects, trial=self._creation(namespace, rights)
        )

    def _tried(self, ask: Callable[[], T]) -> T | Trouble:
        try:
            return ask()
        except _PROBLEMS as error:
            return trouble_of(error)

    def _creation(self, namespace: str, rights: Rights) -> Trouble | Unseen | None:
        kinds = {"configmaps": "ConfigMap", "secrets": "Secret"}
        if not all(rights.has(Permission("create", "", plural, namespace)) for plural in kinds):
            return Unseen(f"whether objects can be made in {namespace}: the right is missing")
        writer = Writer(self._conn, dry_run=True)
        for plural, kind in kinds.items():
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "secret-drift-agent-ledger-doctor"}}
            try:
                writer.create(plural, namespace, body)
            except Conflict:
                continue  # admission comes before
            except _PROBLEMS as error:
                return trouble_of(error)
        return None

    def sync_trial(self, policy: Policy, rights: Rights) -> Trouble | Unseen | None:
        """A patch of an ExternalSecret that changes nothing and is not kept: do webhook and admission let it pass?"""
        if policy.mode != "heal":
            return Unseen("mode observe: no ExternalSecret is written to")
        for namespace in self._namespaces or (None,):
            path = RESOURCES["externalsecrets"].path(namespace)
            try:
                body = self._conn.request("GET", path, query={"limit": "100"}, accept=PARTIAL_LIST).body
                items = msgspec.json.decode(body, type=_Items).items
            except ApiProblem as error:
                return Unseen(f"a patch of an ExternalSecret: {trouble_of(error).detail}")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return Unseen("a patch of an ExternalSecret: their list cannot be read")
            for item in items:
                if _may_sync(policy, rights, item.metadata.namespace):
                    return self._patched(item.metadata)
        return Unseen("a patch of an ExternalSecret: none in reach that we may patch and the policy lets us sync")

    def _patched(self, meta: _Meta) -> Trouble | None:
        key = ObjectKey(meta.namespace, meta.name)
        try:
            Writer(self._conn, dry_run=True).patch("externalsecrets", key, {"metadata": {"uid": meta.uid}})
        except _PROBLEMS as error:
            return trouble_of(error)
        return None


def _may_sync(policy: Policy, rights: Rights, namespace: str) -> bool:
    rule = policy.sync_rule(namespace)
    asked = (Permission("patch", discovery.ESO_GROUP, "externalsecrets", place) for place in (None, namespace))
    return rule is not None and "force-sync" in rule.steps and any(rights.has(each) for each in asked)


def _why(error: Exception, what: str) -> str:
    """For what the agent can work without: that it may not be read is nothing to be mended."""
    if isinstance(error, ApiProblem) and error.code == 403:
        return f"{what} may not be read, which the agent can do without"
    if isinstance(error, ApiProblem) and error.code == 404:
        return f"{what} are not served here"
    return f"{what} cannot be read: {trouble_of(error).detail}"


__all__ = ["Look", "Unreachable"]

"""From a routed request to its answer."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from agent.sandbox.apiserver.accounts import new_token, token_request
from agent.sandbox.apiserver.deletion import Deletion, delete_options
from agent.sandbox.apiserver.eviction import Evictions
from agent.sandbox.apiserver.kinds import PODS
from agent.sandbox.apiserver.logs import LogProvider, read_log
from agent.sandbox.apiserver.protobuf import PROTOBUF
from agent.sandbox.apiserver.reads import Reads, partial
from agent.sandbox.apiserver.reconcile import Write
from agent.sandbox.apiserver.routes import Target
from agent.sandbox.apiserver.selectors import selection
from agent.sandbox.apiserver.status import bad_request, conflict, method_not_allowed, success, unsupported_media_type
from agent.sandbox.apiserver.store import Object, full
from agent.sandbox.apiserver.writes import Writes

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCHES = ("application/apply-patch+yaml", "application/apply-patch+json")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request whose target is known; ``manager`` is the field manager of its writes."""

    target: Target
    verb: str
    query: dict[str, str]
    body: bytes
    content_type: str
    manager: str
    metadata_only: bool


@dataclass(frozen=True)
class Answer:
    """What to send back."""

    code: int
    body: bytes
    content_type: str = "application/json"


def parse_json(body: bytes) -> Any:
    """The value of a JSON body. Raises StatusError 400."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the request body is not valid JSON: {error}") from error


def is_dry_run(query: Mapping[str, str]) -> bool:
    """Whether the query asks for a trial. Raises StatusError 400 for anything but All."""
    if query.get("dryRun", "All") != "All":
        raise bad_request(f'dryRun: Unsupported value: "{query["dryRun"]}": supported values: "All"')
    return "dryRun" in query


class Calls:
    """The verbs on resources."""

    def __init__(self, writes: Writes, reads: Reads, deletion: Deletion, tokens: MutableMapping[str, str]) -> None:
        self.log_provider: LogProvider | None = None
        self._tokens = tokens
        self._writes = writes
        self._reads = reads
        self._deletion = deletion
        self._store = writes.store
        self._evictions = Evictions(writes, deletion)

    async def answer(self, call: Call) -> Answer:
        """Do what is asked (anything but a watch). Raises StatusError."""
        target = call.target
        if target.subresource not in ("", "status"):
            return await self._subresource(call)
        match call.verb:
            case "get":
                return Answer(200, self._get(call))
            case "list":
                return Answer(200, self._list(call))
            case "create" if not target.name:
                return Answer(201, self._create(call))
            case "update":
                return self._replace(call)
            case "patch":
                return self._patch(call)
            case "delete" if not target.subresource:
                stored = self._writes.existing(target.kind, target.namespace or "", target.name)
                return Answer(200, self._deletion.delete(target.kind, stored, self._delete_options(call)))
            case "deletecollection":
                return Answer(200, self._delete_collection(call))
        raise method_not_allowed()

    def _write(self, call: Call) -> Write:
        target = call.target
        return Write(
            kind=target.kind, namespace=target.namespace or "", name=target.name, manager=call.manager,
            subresource=target.subresource, dry_run=is_dry_run(call.query), force=call.query.get("force") == "true",
        )  # fmt: skip

    def _get(self, call: Call) -> bytes:
        target = call.target
        stored = self._writes.existing(target.kind, target.namespace or "", target.name)
        return partial(stored) if call.metadata_only else full(target.kind, stored)

    def _list(self, call: Call) -> bytes:
        target = call.target
        return self._reads.listing(target.kind, target.namespace, call.query, metadata_only=call.metadata_only)

    def _create(self, call: Call) -> bytes:
        if call.target.namespace is None:
            raise method_not_allowed()
        return self._writes.create(self._write(call), parse_json(call.body))

    def _replace(self, call: Call) -> Answer:
        target = call.target
        absent = self._store.get(target.kind, target.namespace or "", target.name) is None
        answer = self._writes.replace(self._write(call), parse_json(call.body))
        return Answer(201 if absent else 200, answer)

    def _patch(self, call: Call) -> Answer:
        if call.content_type == MERGE_PATCH:
            return Answer(200, self._writes.merge(self._write(call), parse_json(call.body)))
        if call.content_type in APPLY_PATCHES:
            if not call.query.get("fieldManager"):
                raise bad_request(
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
                )
            answer, created = self._writes.apply(self._write(call), _parse_yaml(call.body))
            return Answer(201 if created else 200, answer)
        raise unsupported_media_type([MERGE_PATCH, APPLY_PATCHES[0]])

    def _delete_options(self, call: Call) -> Any:
        is_dry_run(call.query)
        """The query counts only where there is no body at all, ``dryRun`` included: so the real server has it."""
        return delete_options(parse_json(call.body), {}) if call.body.strip() else delete_options(None, call.query)

    def _delete_collection(self, call: Call) -> bytes:
        target, wanted = call.target, selection(call.target.kind, call.query)
        options = self._delete_options(call)
        listed = self._reads.listing(target.kind, target.namespace, {**call.query, "limit": "", "resourceVersion": ""})
        for stored in self._store.scan(target.kind, target.namespace):
            if wanted.matches(stored):
                self._deletion.delete(target.kind, stored, options)
        return listed

    async def _subresource(self, call: Call) -> Answer:
        target, namespace = call.target, call.target.namespace or ""
        match target.subresource, call.verb:
            case "log", "get":
                text = await read_log(self._writes, self.log_provider, namespace, target.name, call.query)
                return Answer(200, text, "text/plain")
            case "eviction", "create":
                is_dry_run(call.query)
                body = parse_json(call.body)
                return Answer(201, self._evictions.evict(namespace, target.name, body, call.query))
            case "token", "create":
                asked = token_request(call.body) if call.content_type == PROTOBUF else parse_json(call.body)
                return Answer(201, new_token(self._writes, self._tokens, namespace, target.name, asked))
            case "binding", "create":
                return Answer(201, self._bind(call, parse_json(call.body)))
        raise method_not_allowed()

    def _bind(self, call: Call, body: Any) -> bytes:
        stored = self._writes.existing(PODS, call.target.namespace or "", call.target.name)
        node = (body.get("target") or {}).get("name") if isinstance(body, dict) else None
        if not node:
            raise bad_request("target.name is required")
        bound = stored.decoded()["spec"].get("nodeName")
        if bound:
            why = f'pod {stored.name} is already assigned to node "{bound}"'
            raise conflict("", "pods/binding", stored.name, why)

        def bind(obj: Object) -> None:
            obj["spec"]["nodeName"] = node

        self._writes.change(PODS, stored, bind, manager=call.manager)
        return msgspec.json.encode(success(code=201))


def _parse_yaml(body: bytes) -> Any:
    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error

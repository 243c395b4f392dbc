"""All that the agents of a scenario have said or written, to whomever: what a leak would have to be found in."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from support.leaks import Marked, Searcher
from support.processes import AgentProcess
from support.scenario import Scenario

from agent.ledger import KEY_NAME, shards
from agent.ledger.ledger import PREFIX
from agent.sandbox.apiserver import AuditEntry
from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.world import AGENT_NAMESPACE


class Said(NamedTuple):
    """A text, and where it was said. ``kept``: in a Secret of the agent's own namespace, unpacked."""

    where: str
    text: bytes
    kept: bool = False


class Listener:
    """Listens to a scenario's agents; ``other`` is what was heard in other ways, such as on a terminal."""

    def __init__(self, s: Scenario) -> None:
        self._s = s
        self._scrapes: list[str] = []
        self.other: list[str] = []

    def scrape(self, agent: AgentProcess) -> str:
        """The metrics of now, kept."""
        self._scrapes.append(self._s.metrics(agent))
        return self._scrapes[-1]

    def leaks(
        self, marked: Iterable[Marked], *, data: Mapping[str, Mapping[str, bytes]], planted: set[str]
    ) -> set[str]:
        """Where which value, fingerprint or token was said. Empty: nowhere.

        ``data``: what Secrets have held, besides what they hold now. ``planted``: annotations in which a test itself
        put a value.
        """
        values, secrets = Searcher(marked), Searcher([*fingerprints(self._s), *_tokens(self._s)])
        for name, held in {**data, **_data(self._s)}.items():
            secrets.add_data(name, held)  # ESO's own annotation holds it, on the Secret; nothing of ours may
        found: set[str] = set()
        for said in {*self._said(planted)}:
            found |= {f"{said.where}: {what}" for what in values.found(said.text)}
            if not said.kept and not said.where.startswith("metadata of Secret"):
                found |= {f"{said.where}: {what}" for what in secrets.found(said.text)}
        return found

    def _said(self, planted: set[str]) -> Iterator[Said]:
        for process in self._s.processes:
            name = f"agent {' '.join(process.arguments)}"
            yield from (Said(f"stdout of {name}", line.encode()) for line in process.out.splitlines())
            yield from (Said(f"stderr of {name}", line.encode()) for line in process.err.splitlines())
            for line in process.lines():
                yield from (Said(f"log of {name}", text.encode()) for text in _strings(line))
        yield from (Said("metrics", line.encode()) for scrape in self._scrapes for line in scrape.splitlines())
        yield from (Said("elsewhere", text.encode()) for text in self.other)
        yield from self._requests()
        yield from self._objects(planted)

    def _requests(self) -> Iterator[Said]:
        for entry in self._s.call(lambda: list(self._s.sandbox.api.audit)):
            if entry.user == "agent":
                yield from _request(entry)
        for asked in self._s.call(lambda: list(self._s.sandbox.vaults.audit)):
            if asked.identity in ("agent", ""):
                yield Said("a request to a vault", f"{asked.url} {asked.user_agent}".encode())

    def _objects(self, planted: set[str]) -> Iterator[Said]:
        for kind in KINDS:
            for obj in self._s.objects(kind.kind):
                meta = obj["metadata"]
                where = f"{kind.kind} {meta.get('namespace', '')}/{meta['name']}"
                notes = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
                told = {name: text for name, text in notes.items() if text not in planted}
                yield Said(f"metadata of {where}", json.dumps(told).encode())
                ours = meta.get("namespace") == AGENT_NAMESPACE
                if kind.kind == "Secret" and ours:
                    yield from (Said(where, text, kept=True) for text in _unpacked(obj.get("data") or {}))
                elif ours or (kind.kind == "Event" and obj.get("reportingComponent") == "secret-drift-agent"):
                    yield from (Said(where, text.encode()) for text in (json.dumps(obj), *_strings(obj)))


def _request(entry: AuditEntry) -> Iterator[Said]:
    where = f"{entry.verb} {entry.resource} {entry.namespace}/{entry.name}"
    yield Said(f"the URL of {where}", " ".join((entry.path, *entry.query, *entry.query.values())).encode())
    yield Said("its name", entry.user_agent.encode())
    if not entry.body:
        return
    body = json.loads(entry.body)
    if entry.resource == "secrets" and entry.namespace == AGENT_NAMESPACE:
        yield from (Said(f"the body of {where}", text, kept=True) for text in _unpacked(body.pop("data", None) or {}))
    yield from (Said(f"the body of {where}", text.encode()) for text in (json.dumps(body), *_strings(body)))


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too: as whoever reads the JSON sees them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, below in value.items():
            yield name
            yield from _strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _strings(below)


def _unpacked(data: Mapping[str, str]) -> Iterator[bytes]:
    for text in data.values():
        packed = base64.b64decode(text)
        try:
            yield zlib.decompress(packed)
        except zlib.error:
            yield packed


def _data(s: Scenario) -> dict[str, dict[str, bytes]]:
    names = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in s.objects("Secret")]
    return {f"{namespace}/{name}": s.secret(namespace, name) or {} for namespace, name in names}


def fingerprints(s: Scenario) -> Iterator[Marked]:
    """The installation's key, and every fingerprint in the ledger; the key's id in front of them is public."""
    key = s.secret(AGENT_NAMESPACE, KEY_NAME)
    if key is not None:
        yield Marked("the installation's key", key["key"])
    for secret in s.objects("Secret", AGENT_NAMESPACE):
        _, found, number = secret["metadata"]["name"].rpartition(f"{PREFIX}-history-")
        if not found:
            continue
        written = base64.b64decode(secret["data"]["entries"])
        for name, memory in shards.decode("history", int(number), written).entries.items():
            for field, entries in memory.keys.items():
                for entry in entries:
                    if ":" in entry.value:
                        print_ = entry.value.partition(":")[2].encode()
                        yield Marked(f"the fingerprint of {field} of {name}", print_)


def _tokens(s: Scenario) -> Iterator[Marked]:
    yield Marked("the token for the API server", s.sandbox.tokens["agent"].encode())
    yield Marked("the federated token", s.sandbox.assertion.encode())
    for bearer in s.call(s.sandbox.vaults.login.issued, "agent"):
        yield Marked("the token for vaults", bearer.encode())

"""What stands around the agent in a cluster: ESO's Deployments and webhooks, and the policies that bound our writes.

None of it is needed for the work; it is read where it may be, to tell a person what is missing.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeVar

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_TAG = re.compile(r"v?\d{1,4}\.\d{1,4}\.\d{1,4}(?:[-+][0-9A-Za-z.-]{1,40})?")
_ESO_IMAGE = re.compile(r"(?:^|/)external-secrets(?:[:@]|$)")
T = TypeVar("T")


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _BindingSpec(msgspec.Struct, rename="camel"):
    policy_name: str = ""
    validation_actions: list[str] = []


class _Named(msgspec.Struct):
    metadata: _Meta


class _Binding(msgspec.Struct):
    metadata: _Meta
    spec: _BindingSpec


class _Container(msgspec.Struct):
    image: str = ""
    args: list[str] | None = None


class _PodSpec(msgspec.Struct):
    containers: list[_Container]


class _Template(msgspec.Struct):
    spec: _PodSpec


class _DeploymentSpec(msgspec.Struct):
    template: _Template
    replicas: int | None = None


class _DeploymentStatus(msgspec.Struct, rename="camel"):
    ready_replicas: int = 0


class _Deployment(msgspec.Struct):
    metadata: _Meta
    spec: _DeploymentSpec
    status: _DeploymentStatus = msgspec.field(default_factory=_DeploymentStatus)


class _Service(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Client(msgspec.Struct, rename="camel"):
    ca_bundle: str = ""
    service: _Service | None = None


class _Hook(msgspec.Struct, rename="camel"):
    name: str
    failure_policy: str = "Fail"
    client_config: _Client = msgspec.field(default_factory=_Client)


class _Hooks(msgspec.Struct):
    metadata: _Meta
    webhooks: list[_Hook] = []


class Controller(NamedTuple):
    """ESO's controller: where it runs, its version by its image (empty: not told), and its replicas."""

    namespace: str
    name: str
    version: str
    ready: int
    wanted: int


class Webhook(NamedTuple):
    """One of ESO's validating webhooks."""

    name: str
    failure_policy: str
    has_ca: bool
    service: str  # namespace/name; empty: it is called by a URL


class Bound(NamedTuple):
    """A ValidatingAdmissionPolicy, and whether it is in force by a binding."""

    name: str
    bound: bool


def eso_controllers(conn: Connection) -> list[Controller]:
    """Deployments that run ESO's image as its controller. Raises ApiProblem, Unreachable, BadAnswer."""
    found = []
    for item in _listed(conn, "/apis/apps/v1/deployments", _Deployment):
        for container in item.spec.template.spec.containers:
            first = (container.args or [""])[0]
            if _ESO_IMAGE.search(container.image) and first not in ("webhook", "certcontroller"):
                tag = container.image.partition("@")[0].rpartition(":")[2]
                version = tag if _TAG.fullmatch(tag) else ""
                wanted = 1 if item.spec.replicas is None else item.spec.replicas
                found.append(Controller(*_place(item.metadata), version, item.status.ready_replicas, wanted))
    return found


def eso_webhooks(conn: Connection) -> list[Webhook]:
    """The webhooks that judge ExternalSecrets and stores. Raises ApiProblem, Unreachable, BadAnswer."""
    found = []
    for item in _listed(conn, f"{_ADMISSION}/validatingwebhookconfigurations", _Hooks):
        for hook in item.webhooks:
            if hook.name.endswith("external-secrets.io"):
                service = hook.client_config.service
                place = f"{service.namespace}/{service.name}" if service else ""
                found.append(Webhook(hook.name, hook.failure_policy, bool(hook.client_config.ca_bundle), place))
    return found


def admission_policies(conn: Connection, prefix: str) -> list[Bound]:
    """ValidatingAdmissionPolicies of that prefix, by name. Raises ApiProblem, Unreachable, BadAnswer."""
    bindings = _listed(conn, f"{_ADMISSION}/validatingadmissionpolicybindings", _Binding)
    bound = {each.spec.policy_name for each in bindings if "Deny" in each.spec.validation_actions}
    policies = _listed(conn, f"{_ADMISSION}/validatingadmissionpolicies", _Named)
    names = sorted(each.metadata.name for each in policies if each.metadata.name.startswith(prefix))
    return [Bound(name, name in bound) for name in names]


def _place(meta: _Meta) -> tuple[str, str]:
    return meta.namespace, meta.name


def _listed(conn: Connection, path: str, form: type[T]) -> list[T]:
    """All objects of a collection. Those of a form that is not known make the whole unreadable."""
    found: list[T] = []
    query = {"limit": "500"}
    while True:
        body = conn.request("GET", path, query=query).body
        try:
            page: Any = msgspec.json.decode(body, type=_Page)
            found += [msgspec.json.decode(item, type=form) for item in page.items]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadAnswer(f"the list at {path} cannot be read") from None
        if not page.metadata.continue_:
            return found
        query["continue"] = page.metadata.continue_


class _ListMeta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]

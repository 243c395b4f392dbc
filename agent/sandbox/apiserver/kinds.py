"""The kinds this server knows, as data: what each one has and how its writes are treated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec

_ESO = "external-secrets.io"


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One served kind.

    ``status``: has a status subresource (writes elsewhere leave the status alone). ``generation``: counts spec changes.
    ``fields``: selectable fields besides metadata.name and metadata.namespace. ``unconditional_update``: PUT without a
    resourceVersion is accepted. ``create_on_update``: PUT creates what is absent. ``keeps_status``: a create keeps the
    status it brings. ``custom``: served from a CustomResourceDefinition, which differs in a dozen small ways.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True
    custom: bool = False
    status: bool = False
    generation: bool = False
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    unconditional_update: bool = True
    create_on_update: bool = False
    keeps_status: bool = False

    @cached_property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def list_kind(self) -> str:
        """The kind of a list, such as ``PodList``."""
        return f"{self.kind}List"

    @cached_property
    def head(self) -> bytes:
        """The beginning of an encoded object: kind and apiVersion, up to the next member."""
        order = ("apiVersion", "kind") if self.custom else ("kind", "apiVersion")
        values = {"apiVersion": self.api_version, "kind": self.kind}
        return msgspec.json.encode({key: values[key] for key in order})[:-1] + b","

    @cached_property
    def selectable(self) -> tuple[str, ...]:
        """Every field a fieldSelector may name."""
        return ("metadata.name", "metadata.namespace", *self.fields)


def _custom(plural: str, kind: str, version: str = "v1", *short_names: str, namespaced: bool = True) -> Kind:
    return Kind(
        group=_ESO, version=version, plural=plural, kind=kind, namespaced=namespaced, custom=True, status=True,
        generation=True, short_names=short_names, unconditional_update=False,
        fields=("spec.target.name",) if kind == "ExternalSecret" else (),
    )  # fmt: skip


def _admission(plural: str, kind: str) -> Kind:
    """Kept and shown, but never asked: nothing is refused here because of it."""
    return Kind(group="admissionregistration.k8s.io", plural=plural, kind=kind, namespaced=False, generation=True)


_INVOLVED = tuple(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath"))

KINDS: tuple[Kind, ...] = (
    Kind(
        plural="namespaces", kind="Namespace", namespaced=False, status=True, short_names=("ns",),
        fields=("status.phase",),
    ),
    Kind(
        plural="nodes", kind="Node", namespaced=False, status=True, keeps_status=True, short_names=("no",),
        fields=("spec.unschedulable",),
    ),
    Kind(
        plural="pods", kind="Pod", status=True, generation=True, short_names=("po",),
        subresources=("eviction", "log", "binding"),
        fields=("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    ),
    Kind(plural="secrets", kind="Secret", fields=("type",)),
    Kind(plural="configmaps", kind="ConfigMap", short_names=("cm",)),
    Kind(
        plural="events", kind="Event", short_names=("ev",), create_on_update=True,
        fields=(*_INVOLVED, "reason", "reportingComponent", "source", "type"),
    ),
    Kind(plural="serviceaccounts", kind="ServiceAccount", short_names=("sa",), subresources=("token",)),
    Kind(plural="services", kind="Service", short_names=("svc",), status=True, fields=("spec.type",)),
    Kind(plural="persistentvolumeclaims", kind="PersistentVolumeClaim", status=True, short_names=("pvc",)),
    Kind(plural="persistentvolumes", kind="PersistentVolume", namespaced=False, status=True, short_names=("pv",)),
    Kind(plural="resourcequotas", kind="ResourceQuota", status=True, short_names=("quota",)),
    Kind(group="apps", plural="deployments", kind="Deployment", status=True, generation=True, short_names=("deploy",)),
    Kind(group="apps", plural="replicasets", kind="ReplicaSet", status=True, generation=True, short_names=("rs",)),
    Kind(group="apps", plural="statefulsets", kind="StatefulSet", status=True, generation=True, short_names=("sts",)),
    Kind(group="apps", plural="daemonsets", kind="DaemonSet", status=True, generation=True, short_names=("ds",)),
    Kind(group="apps", plural="controllerrevisions", kind="ControllerRevision"),
    Kind(group="batch", plural="jobs", kind="Job", status=True, generation=True),
    Kind(group="batch", plural="cronjobs", kind="CronJob", status=True, generation=True, short_names=("cj",)),
    Kind(
        group="autoscaling", version="v2", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler",
        status=True, short_names=("hpa",),
    ),
    Kind(
        group="policy", plural="poddisruptionbudgets", kind="PodDisruptionBudget", status=True, generation=True,
        short_names=("pdb",), unconditional_update=False,
    ),
    Kind(
        group="coordination.k8s.io", plural="leases", kind="Lease", unconditional_update=False, create_on_update=True,
    ),
    _admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
    _admission("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    _admission("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    _custom("externalsecrets", "ExternalSecret", "v1", "es"),
    _custom("secretstores", "SecretStore", "v1", "ss"),
    _custom("clustersecretstores", "ClusterSecretStore", "v1", "css", namespaced=False),
    _custom("clusterexternalsecrets", "ClusterExternalSecret", "v1", "ces", namespaced=False),
    _custom("pushsecrets", "PushSecret", "v1alpha1", "ps"),
)  # fmt: skip

BY_PATH: dict[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_NAME: dict[tuple[str, str], Kind] = {(kind.api_version, kind.kind): kind for kind in KINDS}


def builtin(plural: str) -> Kind:
    """The kind of a plural name that is unique here, such as ``pods``."""
    return next(kind for kind in KINDS if kind.plural == plural)


NAMESPACES = builtin("namespaces")
PODS = builtin("pods")
SECRETS = builtin("secrets")
PDBS = builtin("poddisruptionbudgets")

"""Where each kind of object lives in the API, as one table."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""Asks for metadata only: a tenth of the bytes where nothing else is needed."""


class Resource(NamedTuple):
    """One kind as the API serves it. ``plural`` is its name everywhere in this package."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    accept: str = "application/json"

    @property
    def api_version(self) -> str:
        """``apps/v1``; ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection (of all namespaces where None), of one object, or of its subresource.

        Raises ValueError for a name that would change the meaning of the path; no object can bear it.
        """
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(name))
            if subresource:
                parts.append(subresource)
        return "/" + "/".join(parts)


def _segment(name: str) -> str:
    if name in ("", ".", ".."):
        raise ValueError(f"no object can be named {name!r}")
    return quote(name, safe="")


RESOURCES: dict[str, Resource] = {
    resource.plural: resource
    for resource in (
        Resource("namespaces", "Namespace", namespaced=False),
        Resource("nodes", "Node", namespaced=False),
        Resource("pods", "Pod"),
        Resource("secrets", "Secret"),
        Resource("configmaps", "ConfigMap"),
        Resource("events", "Event"),
        Resource("persistentvolumeclaims", "PersistentVolumeClaim"),
        Resource("deployments", "Deployment", "apps"),
        Resource("statefulsets", "StatefulSet", "apps"),
        Resource("daemonsets", "DaemonSet", "apps"),
        Resource("replicasets", "ReplicaSet", "apps", accept=PARTIAL_LIST),
        Resource("poddisruptionbudgets", "PodDisruptionBudget", "policy"),
        Resource("leases", "Lease", "coordination.k8s.io"),
        Resource("externalsecrets", "ExternalSecret", "external-secrets.io"),
        Resource("secretstores", "SecretStore", "external-secrets.io"),
        Resource("clustersecretstores", "ClusterSecretStore", "external-secrets.io", namespaced=False),
        Resource("clusterexternalsecrets", "ClusterExternalSecret", "external-secrets.io", namespaced=False),
        Resource("pushsecrets", "PushSecret", "external-secrets.io", "v1alpha1"),
    )
}
"""Every kind the agent reads or writes, by plural."""

WORKLOAD_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
"""Collections of the workload kinds that can be recycled."""

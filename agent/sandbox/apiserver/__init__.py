"""A Kubernetes API server in a box: real HTTP over real TLS, objects in memory, faults on demand."""

from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.apiserver.audit import AuditEntry, DropRequest, Hook, Phase
from agent.sandbox.apiserver.faults import FaultRule, Faults
from agent.sandbox.apiserver.logs import LogProvider
from agent.sandbox.apiserver.server import ApiServer

__all__ = [
    "ApiServer",
    "AuditEntry",
    "DropRequest",
    "FaultRule",
    "Faults",
    "ForbidRule",
    "Hook",
    "LogProvider",
    "Phase",
]

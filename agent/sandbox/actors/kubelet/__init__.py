"""Scheduler and kubelet of a world without machines: pods get nodes, containers get values, and both are recorded.

It speaks HTTP only, and so gives life to a real API server as well as to the sandbox's.
"""

from agent.sandbox.actors.kubelet.backends import Backends
from agent.sandbox.actors.kubelet.kubelet import Kubelet
from agent.sandbox.actors.kubelet.record import Received, Ref, Values
from agent.sandbox.actors.kubelet.settings import Settings

__all__ = ["Backends", "Kubelet", "Received", "Ref", "Settings", "Values"]

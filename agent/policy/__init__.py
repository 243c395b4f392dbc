"""The policy file: what the agent may do, where, when, and how much of it."""

from __future__ import annotations

from .loading import default, load, loads
from .numbers import Limits, Margins, Reading, Report, Timing
from .policy import Pause, Policy
from .problems import PolicyError, Problem
from .reloading import PolicyFile
from .rules import Canary, LogCanary, RecycleRule, SyncRule, VaultRule, Window
from .schema import schema
from .windows import closes_at, is_open, next_opening

__all__ = [
    "Canary",
    "Limits",
    "LogCanary",
    "Margins",
    "Pause",
    "Policy",
    "PolicyError",
    "PolicyFile",
    "Problem",
    "Reading",
    "RecycleRule",
    "Report",
    "SyncRule",
    "Timing",
    "VaultRule",
    "Window",
    "closes_at",
    "default",
    "is_open",
    "load",
    "loads",
    "next_opening",
    "schema",
]

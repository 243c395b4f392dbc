"""The demo: the runbook's stories, played on the embedded world by the real agent, told as they happen."""

from agent.sandbox.demo.play import main

__all__ = ["main"]

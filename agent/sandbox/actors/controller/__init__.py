"""What every controller is made of: stores fed by watches, a queue of keys to reconcile, readers of object shapes."""

from agent.sandbox.actors.controller.queue import WorkQueue
from agent.sandbox.actors.controller.store import Store, Stores

__all__ = ["Store", "Stores", "WorkQueue"]

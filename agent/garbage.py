"""When the garbage collector looks at what: tracing objects that stay anyway is the largest cost of reading much.

A start, and the reading of all there is, make hundreds of thousands of objects that live as long as the process, and
next to no garbage. So it rests meanwhile; afterwards what is there is put out of its sight, and it runs seldom.
"""

from __future__ import annotations

import gc
import sys

SELDOM = (200_000, 20, 100)
"""Objects made and not freed before the youngest are traced (the default is 700); the older ones as rarely."""


def rest() -> None:
    """Collect nothing until ``resume``."""
    gc.disable()


def resume() -> None:
    """Collect again, but never what is there now: reference counting alone frees it."""
    gc.freeze()
    gc.set_threshold(*SELDOM)
    gc.enable()


def give_back() -> None:
    """Let the system have what reading has freed: glibc keeps it, 15 MB with 10,000 chains. Others do without."""
    import ctypes  # for this alone

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def forget() -> None:
    """A world is over, and its like will be built again: free all of it, cycles included."""
    gc.unfreeze()
    gc.collect()


def leave() -> None:
    """Call last: what the process holds dies with it, and need not be taken apart object by object before."""
    gc.freeze()

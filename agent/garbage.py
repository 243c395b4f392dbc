"""When the garbage collector looks at what: tracing objects that stay anyway is the largest cost of reading much.

A start, and the reading of all there is, make hundreds of thousands of objects that live as long as the process, and
next to no garbage. So it rests meanwhile; afterwards what is there is put out of its sight, and it runs seldom.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
SELDOM = (200_000, 20, 100)
"""Objects made and not freed before the youngest are traced (the default is 700); the older ones as rarely."""


def rest() -> None:
    """Collect nothing until ``resume``, and keep glibc to one arena.

    Else threads get arenas of their own, none of which uses what the others have freed: 12 MB with 10,000 chains. They
    would save waiting for each other, but whoever has the interpreter's lock waits for nobody here.
    """
    gc.disable()
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, 1)


def resume() -> None:
    """Collect again, but never what is there now: reference counting alone frees it."""
    gc.freeze()
    gc.set_threshold(*SELDOM)
    gc.enable()


def give_back() -> None:
    """Let the system have what reading has freed: glibc keeps it, 15 MB with 10,000 chains. Others do without."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    import ctypes  # for this alone

    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def forget() -> None:
    """A world is over, and its like will be built again: free all of it, cycles included."""
    gc.unfreeze()
    gc.collect()


def leave() -> None:
    """Call last: what the process holds dies with it, and need not be taken apart object by object before."""
    gc.freeze()

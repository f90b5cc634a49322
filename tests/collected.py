"""What only the garbage collector frees."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Set as AbstractSet


def collected(types: AbstractSet[str]) -> Counter[str]:
    """How many objects of these types, by the last part of their names, the collector finds now. They are gone afterwards."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    names = [type(one).__name__ for one in gc.garbage]
    gc.garbage.clear()
    gc.collect()  # and now for good
    return Counter(name for name in names if name in types)

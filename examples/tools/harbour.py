"""Tools for a model: plain functions. What the model is told of them is their type hints and their docstrings."""

from __future__ import annotations

import asyncio
import math
from typing import Literal

from tidewire.toolbox.port import CallContext


def tide(hour: int, unit: Literal["m", "ft"] = "m") -> dict[str, float | str]:
    """How high the water stands in the harbour.

    Args:
        hour: of the day, 0 to 23
        unit: metres or feet
    """
    if not 0 <= hour <= 23:
        raise ValueError(f"hour is {hour}, and a day has 0 to 23")  # the model reads this, and may try again
    metres = 2 + 1.5 * math.cos(2 * math.pi * hour / 12.42)
    return {"height": round(metres if unit == "m" else metres * 3.281, 2), "unit": unit}


async def sound_the_horn(times: int, call: CallContext) -> str:
    """Sounds the horn of the lighthouse.

    Args:
        times: how often
    """
    for n in range(times):
        call.progress(f"{n + 1} of {times}")  # the reader sees it at once
        await asyncio.sleep(0.2)
    return f"sounded {times} times, as order {call.key}"

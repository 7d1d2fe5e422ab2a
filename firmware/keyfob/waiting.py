"""Waiting for what takes time, in a program on asyncio and in one without it.

What sets a connection up is written as coroutines. In a program on asyncio they leave
others their turn; one that never imported asyncio runs them with `run`, and they sleep.
"""

import sys
import time


async def pause(ms: int) -> None:
    """Return after ``ms`` milliseconds."""
    asyncio = sys.modules.get("asyncio")
    if asyncio:
        await asyncio.sleep_ms(ms)  # type: ignore[attr-defined]
    else:
        time.sleep_ms(ms)


def run(coroutine):
    """What ``coroutine`` returns, from a program that is in no task."""
    asyncio = sys.modules.get("asyncio")
    if asyncio:
        return asyncio.run(coroutine)
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value

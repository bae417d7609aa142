"""Whether a process lives."""

import asyncio
from pathlib import Path


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid):
    async with asyncio.timeout(30):
        while alive(pid):
            await asyncio.sleep(0.01)
    return True

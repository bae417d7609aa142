"""Every wait has a deadline, or a reason why it ends by itself."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.house.tree import source, tree
from tests.house.waits import waits
from tests.house.waits_that_end import WAITS

FREE = {"simulator"}
"""A stand-in for the service waits as it is told to."""

WAIT = """
await self.changed.wait()
await queue.get()
await asyncio.wait({task})
await reply
await reader.readline()
await asyncio.open_connection(host, port)
await asyncio.gather(*tasks)
await process.wait()
await asyncio.to_thread(read)
thread.join()
future.result()
lock.acquire()
event.wait()
lines.get()
subprocess.run(command)
process.communicate()
urllib.request.urlopen(url)
socket.create_connection(address)
redis.Redis(host)
redis.Redis.from_url(url)
httpx.Client()
fcntl.flock(file, fcntl.LOCK_EX)
os.waitpid(pid, 0)
select.select([], [output], [])
async for line in lines: pass
async with self._lock: pass
with self._lock: pass
"""

DO_NOT = """
await asyncio.wait_for(self.changed.wait(), 3)
await asyncio.wait({task}, timeout=3)
thread.join(3)
future.result(3)
subprocess.run(command, timeout=3)
redis.Redis.from_url(url, socket_timeout=3)
fcntl.flock(file, fcntl.LOCK_NB)
urllib.request.urlopen(url, timeout=3)
socket.create_connection(address, 3)
os.waitpid(pid, os.WNOHANG)
select.select([], [output], [], 1)
', '.join(words)
found.get(name)
await asyncio.sleep(1)
await self.file()
"""


@cache
def found():
    return [wait for path in source() if not FREE & set(path.parts) for wait in waits(path, tree(path))]


def test_every_wait_has_a_deadline_or_a_reason():
    """Mend it with `asyncio.timeout`, `timeout=` or LOCK_NB; only what must end by itself goes into the list."""
    listed = {each for those in WAITS.values() for each in those}
    assert sorted({str(wait) for wait in found()} - listed) == []


def test_reasons_belong_to_waits_that_exist():
    there = {str(wait) for wait in found()}
    assert [each for those in WAITS.values() for each in those if each not in there] == []


@pytest.mark.parametrize("line", WAIT.strip().splitlines())
def test_the_rule_knows_the_calls_that_wait(line):
    assert len(waits(Path("example.py"), ast.parse(f"async def example():\n    {line}"))) == 1


@pytest.mark.parametrize("line", DO_NOT.strip().splitlines())
def test_the_rule_lets_deadlines_pass(line):
    assert waits(Path("example.py"), ast.parse(f"async def example():\n    {line}")) == []


def test_deadline_counts_only_within_its_own_function():
    around = "async def example():\n    async with asyncio.timeout(3):\n        await self.changed.wait()"
    assert waits(Path("example.py"), ast.parse(around)) == []
    inner = f"{around}\n        async def other():\n            await self.changed.wait()"
    assert [wait.function for wait in waits(Path("example.py"), ast.parse(inner))] == ["example.other"]

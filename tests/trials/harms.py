"""The harms. Each is a coroutine that does it to a stage, and returns when what was done from outside has ended."""

import asyncio
import json
import signal
import socket
import sqlite3
from contextlib import closing, suppress

from tests.trials.load import CHAT, post, status_of
from tests.trials.stage import KEYS

SILENT = 1_100


async def none(_stage):
    """No harm."""


def kill(part, which=0):
    """`kill -9` of one process."""
    return _signalled(part, signal.SIGKILL, which)


def stop(part, which=0):
    """SIGSTOP, and nobody lets it go on."""
    return _signalled(part, signal.SIGSTOP, which)


def stop_until_ended(part, within=40):
    """SIGSTOP, and nobody lets it go on; over when the supervisor has ended it."""

    async def harm(stage):
        before = stage.pids(part)
        await asyncio.to_thread(stage.send, part, signal.SIGSTOP)
        async with asyncio.timeout(within):
            while set(before) <= set(stage.pids(part)):
                await asyncio.sleep(0.1)

    return harm


def _signalled(part, number, which):
    async def harm(stage):
        await asyncio.to_thread(stage.send, part, number, which)

    return harm


def both(first, second):
    """One after the other, without a pause."""

    async def harm(stage):
        await first(stage)
        await second(stage)

    return harm


def pause(part, seconds):
    """SIGSTOP, and SIGCONT later."""

    async def harm(stage):
        await asyncio.to_thread(stage.send, part, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(stage.send, part, signal.SIGCONT)

    return harm


def kill_often(part, times, every):
    """`kill -9` again and again."""

    async def harm(stage):
        for _ in range(times):
            await asyncio.to_thread(stage.send, part, signal.SIGKILL)
            await asyncio.sleep(every)

    return harm


def doors(stage, which):
    return {
        "upstream": stage.upstream_doors, "redis": [stage.redis_door], "database": [stage.database_door],
    }[which]  # fmt: skip


def cut(which, times=1, every=1.0):
    """Every connection through the doors is reset; new ones pass."""

    async def harm(stage):
        for number in range(times):
            if number:
                await asyncio.sleep(every)
            for door in doors(stage, which):
                door.cut()

    return harm


def blackhole(which, seconds):
    """Nothing arrives any more, and nobody is told; later new connections pass."""

    async def harm(stage):
        for door in doors(stage, which):
            door.swallow()
        await asyncio.gather(asyncio.sleep(seconds), probe(stage, "a key not seen before", fresh(), 10))
        for door in doors(stage, which):
            door.heal()

    return harm


async def probe(stage, what, request, seconds):
    """Ask once in the middle of a harm. Any answer will do, but there must be one in time."""
    if not await status_of(stage.port, request, seconds):
        stage.unanswered.append(what)


def fresh():
    """A request with a key that is in the database, and that no process has used yet."""
    return (
        f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEYS['fresh']}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def refuse(which, seconds):
    """Connections are reset, and new ones too, for a while."""

    async def harm(stage):
        for door in doors(stage, which):
            door.shut = True
            door.cut()
        await asyncio.sleep(seconds)
        for door in doors(stage, which):
            door.heal()

    return harm


def in_turn(*harms, pause=3):
    """One after the other, with some calm in between."""

    async def harm(stage):
        for each in harms:
            await each(stage)
            await asyncio.sleep(pause)

    return harm


def restart_redis(seconds=1):
    """`kill -9` of the Redis behind the door, and a start after a while."""

    async def harm(stage):
        await asyncio.to_thread(stage.send, "redis", signal.SIGKILL)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(stage.start_redis)

    return harm


def restart_postgres(seconds=2):
    """A fast shutdown, and a start after a while."""

    async def harm(stage):
        await asyncio.to_thread(stage.postgres.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(stage.postgres.start)

    return harm


def lock_sqlite(seconds):
    """Another program holds the write lock."""

    async def harm(stage):
        path = stage.data_dir / "gateway.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None, timeout=20, check_same_thread=False)) as connection:
            await asyncio.to_thread(connection.execute, "BEGIN EXCLUSIVE")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(connection.execute, "ROLLBACK")

    return harm


def fill_disk(seconds):
    """Not a byte is left where DATA_DIR is."""

    def fill(path):
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 12))

    async def harm(stage):
        filler = stage.data_dir / "filler"
        for number in range(int(seconds * 2)):  # again and again: what is freed meanwhile is taken too
            await asyncio.to_thread(fill, filler.with_suffix(f".{number}"))
            await asyncio.sleep(0.5)
        for path in stage.data_dir.glob("filler.*"):
            path.unlink()

    return harm


def full_redis(seconds):
    """`maxmemory` below what is used, and nothing may be evicted."""
    return _redis(seconds, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))


def read_only_redis(seconds):
    """A replica of a server that is not there: every write is refused."""
    return _redis(seconds, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))


def _redis(seconds, before, after):
    def command(stage, words):
        with stage.redis() as client:
            client.execute_command(*words)

    async def harm(stage):
        await asyncio.to_thread(command, stage, before)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(command, stage, after)

    return harm


def silence(seconds):
    """More connections than there are descriptors, from another address, and no byte on any of them."""

    async def harm(stage):
        for _ in range(SILENT):
            each = socket.socket()
            each.setblocking(False)
            each.bind(("127.0.0.2", 0))
            with suppress(BlockingIOError):
                each.connect(("127.0.0.1", stage.port))
            stage.silent.append(each)
            await asyncio.sleep(0.001)
        health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await asyncio.gather(asyncio.sleep(seconds), probe(stage, "/healthz", health, 5))
        for each in stage.silent:
            each.close()
        stage.silent.clear()

    return harm


def poison(times, every):
    """A prompt that makes the service exit, again and again; what becomes of its own turns is not counted."""

    async def harm(stage):
        for number in range(times):
            stage.aside.append(asyncio.ensure_future(one_of_poison(stage.port, streamed=bool(number % 2))))
            await asyncio.sleep(every)

    return harm


async def one_of_poison(port, *, streamed):
    prompt = "[[sim: text=poison chunks=1 first_ms=0 fault=crash after=0]] a prompt that no service survives"
    body = {"model": "org_auto", "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(post(CHAT, json.dumps(body).encode(), KEYS["plain"], "Connection: close\r\n"))
        await reader.read()
    finally:
        writer.transport.abort()


def restart():
    """SIGTERM while busy, and a new start when it has ended."""

    async def harm(stage):
        stage.process.terminate()
        await asyncio.to_thread(stage.process.wait, 40)
        await asyncio.to_thread(stage.start)

    return harm


def stop_twice(after=0.5):
    """SIGTERM, and once more before the streams have ended; then a new start."""

    async def harm(stage):
        stage.process.terminate()
        await asyncio.sleep(after)
        stage.process.terminate()
        await asyncio.to_thread(stage.process.wait, 40)
        await asyncio.to_thread(stage.start)

    return harm

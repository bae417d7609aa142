"""What fetching an image costs: our fetcher beside httpx and httpcore, each with the gateway's checks.

`python -m tests.bench.image_fetch [--rounds 5] [--fetches 200]`; microseconds of CPU of this process for each fetch.
Each resolves the name once, checks every address, connects to that very address, closes the connection afterwards,
and stops at the bound on the size. Rounds are interleaved; the server is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from contextlib import suppress

import httpcore2
import httpx2

from bridge.images.fetch import Fetcher, FetchOptions

HERE = "127.0.0.1"
MOST = 10 << 20
SIZE = 200_000


async def resolve(host, port, key):
    return [HERE]


def is_allowed(address):
    return address == HERE


def serve(ready):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE)

    async def answer(reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(page)
            await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(answer, HERE, 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


class Ours:
    def __init__(self, port):
        self.fetcher = Fetcher(FetchOptions(ports=frozenset({port}), resolve=resolve, is_allowed=is_allowed), MOST)

    async def get(self, url):
        return await self.fetcher.get(url)


async def checked(host, port):
    addresses = await resolve(host, port, 0)
    if not all(map(is_allowed, addresses)):
        raise OSError
    return addresses[0]


class Httpx:
    """By address, with the name in the `Host` header and in TLS."""

    def __init__(self, port):
        limits = httpx2.Limits(max_keepalive_connections=0)
        self.client = httpx2.AsyncClient(follow_redirects=False, trust_env=False, limits=limits)

    async def get(self, url):
        async with asyncio.timeout(10):
            name = httpx2.URL(url)
            at = name.copy_with(host=await checked(name.host, name.port))
            headers = {"Host": name.netloc.decode(), "Accept-Encoding": "identity", "Connection": "close"}
            request = self.client.build_request("GET", at, headers=headers, extensions={"sni_hostname": name.host})
            reply, body = await self.client.send(request, stream=True), bytearray()
            async for data in reply.aiter_raw():
                body += data
                if len(body) > MOST:
                    raise ValueError
            await reply.aclose()
            return bytes(body)


class Pinned(httpcore2.AnyIOBackend):
    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        return await super().connect_tcp(await checked(host, port), port, timeout, local_address, socket_options)


class Httpcore:
    """Its network backend resolves, checks and connects."""

    def __init__(self, port):
        self.pool = httpcore2.AsyncConnectionPool(max_keepalive_connections=0, network_backend=Pinned())

    async def get(self, url):
        async with asyncio.timeout(10):
            body = bytearray()
            headers = {"Accept-Encoding": "identity", "Connection": "close"}
            async with self.pool.stream("GET", url, headers=headers) as reply:
                async for data in reply.aiter_stream():
                    body += data
                    if len(body) > MOST:
                        raise ValueError
            return bytes(body)


async def cost(fetcher, url, fetches):
    began = time.process_time()
    for _ in range(fetches):
        assert len(await fetcher.get(url)) == SIZE
    return (time.process_time() - began) / fetches * 1e6


async def measure(port, rounds, fetches):
    url, fetchers = f"http://pictures.example:{port}/x.png", [kind(port) for kind in (Ours, Httpx, Httpcore)]
    costs = {type(each).__name__: [] for each in fetchers}
    for number in range(rounds + 1):
        for each in fetchers:
            figure = await cost(each, url, fetches)
            if number:  # the first round only warms up
                costs[type(each).__name__].append(figure)
    for name, figures in costs.items():
        print(f"{name:<10} {statistics.median(figures):6.0f} us ({min(figures):.0f} to {max(figures):.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fetches", type=int, default=200)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        asyncio.run(measure(ours.recv(), options.rounds, options.fetches))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()

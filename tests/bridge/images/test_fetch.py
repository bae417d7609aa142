"""Fetching over real sockets: what comes whole from a public host is taken, and every attempt at more is refused."""

import asyncio
import socket
import threading

import pytest

from bridge.images import fetch
from bridge.images.fetch import Fetcher, FetchFailed, FetchOptions, resolve
from tests.bridge.images.pictures import PNG
from tests.bridge.images.web import HERE, certificates, reply


@pytest.fixture
def get(web):
    """Fetch a path of the web, or a URL."""

    async def get(path, max_bytes=1000, **options):
        url = path if "://" in path else web.url(path)
        return await Fetcher(web.options(**options), max_bytes).get(url)

    return get


class Sink:
    """A host that has answered already, whatever is asked."""

    def write(self, data):
        pass


def chunked(*chunks):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return reply(body, length=False, Transfer_Encoding="chunked")


@pytest.mark.parametrize(
    "page",
    [
        reply(PNG, Content_Type="text/html"),
        chunked(PNG[:20], PNG[20:]),
        reply(PNG, length=False),
        b"HTTP/1.0 200 OK\r\n\r\n" + PNG,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply(PNG),
        reply(PNG, Content_Encoding="identity"),
        reply(PNG) + b"more than was announced",
    ],
    ids=["length", "chunks", "until the end", "old", "hints", "identity", "surplus"],
)
async def test_a_body_arrives_however_it_is_sent(web, get, page):
    web.pages["/a.png?b=c"] = page
    assert await get("/a.png?b=c") == PNG


async def test_request_has_only_necessary_headers(web, get, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    web.pages["/a.png"] = reply(PNG, Set_Cookie="a=b")
    for _ in range(2):
        await get("/a.png")
    assert web.asked[0] == web.asked[1] == (
        f"GET /a.png HTTP/1.1\r\nHost: pictures.example:{web.port}\r\nUser-Agent: lingma-gateway\r\n"
        "Accept: image/png, image/jpeg, image/gif, image/webp\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], [HERE, "10.0.0.1"], ["8.8.8.8", "::1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], []],
    ids=str,
)
async def test_host_with_any_private_address_is_not_asked(web, get, addresses):
    web.hosts["pictures.example"] = addresses
    with pytest.raises(FetchFailed, match="no public address"):
        await get("/a.png")
    assert web.asked == []


async def test_this_machine_is_not_asked_by_default(web):
    options = FetchOptions(ports=frozenset({web.port}))
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0"):
        with pytest.raises(FetchFailed, match=r"no public address|could not be fetched"):
            await Fetcher(options, 1000).get(web.url("/a.png", host))
    assert web.asked == []


async def test_host_is_resolved_once_and_tried_in_order(web, get):
    web.hosts["pictures.example"] = ["127.0.0.2", HERE]
    web.pages["/a.png"] = reply(PNG)
    assert await get("/a.png", is_allowed=lambda address: address.startswith("127.")) == PNG
    assert web.looked_up == ["pictures.example"]


async def test_the_resolver_gives_every_address():
    assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("pause", [0, 1], ids=["at once", "after a while"])
async def test_unknown_and_private_hosts_read_alike(web, get, pause, monkeypatch):
    """Also by the time it takes, however soon the name server knows."""
    monkeypatch.setattr(fetch, "PRIVATE_AFTER", 1.5)  # of which a busy machine may miss a half
    web.hosts["inner.example"] = ["10.0.0.1"]
    loop, refusals = asyncio.get_running_loop(), []

    async def resolve_inner_later(host, port, key):
        await asyncio.sleep(pause if host == "inner.example" else 0)
        return await web.resolve(host, port, key)

    for host in ("unknown.example", "inner.example"):
        began = loop.time()
        with pytest.raises(FetchFailed) as caught:
            await get(web.url("/a.png", host), resolve=resolve_inner_later)
        refusals.append((str(caught.value), round((loop.time() - began) / 1.5)))
    assert refusals == [("its host has no public address", 1)] * 2


async def test_closed_port_is_reported_without_details(get):
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await get("http://pictures.example:9/a.png", ports=frozenset({9}))


async def test_slow_name_server_leaves_threads_to_others(monkeypatch):
    """The system's resolver cannot be interrupted: what one key asks holds two threads at most."""
    go_on, real = threading.Event(), socket.getaddrinfo

    def slow(host, *rest, **more):
        if host.startswith("slow"):
            assert go_on.wait(60)
        return real(HERE, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    stuck = [asyncio.create_task(resolve(f"slow{number}.example", 80, 1)) for number in range(50)]
    try:
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(resolve("quick.example", 80, 2), 30) == [HERE]
        assert not any(each.done() for each in stuck)
    finally:
        for each in stuck[2:]:
            each.cancel()
        go_on.set()
        assert await asyncio.gather(*stuck[:2]) == [[HERE], [HERE]]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_followed(web, get, status):
    web.pages |= {"/a": reply(status=status, Location=web.url("/b", "other.example")), "/b": reply(PNG)}
    assert await get("/a") == PNG
    assert web.looked_up == ["pictures.example", "other.example"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://inner.example:{port}/a.png", "no public address"),
        ("http://pictures.example:22/", "port 22"),
        ("file:///etc/passwd", "only data:"),
        ("http://user:secret@pictures.example:{port}/", "user name"),
        ("/round", "more than 3 times"),
    ],
)
async def test_redirect_is_checked_like_a_url(web, get, location, why):
    web.hosts["inner.example"] = ["192.168.0.1"]
    web.pages["/round"] = reply(status="302 Found", Location=location.format(port=web.port))
    with pytest.raises(FetchFailed, match=why):
        await get("/round")


async def test_three_redirects_are_followed_and_not_four(web, get):
    web.pages |= {f"/{number}": reply(status="302 Found", Location=f"/{number + 1}") for number in range(4)}
    web.pages["/4"] = reply(PNG)
    assert await get("/1") == PNG
    with pytest.raises(FetchFailed, match="more than 3 times"):
        await get("/0")


async def test_name_changing_between_redirects_is_checked_again(web, get):
    web.pages["/a"] = reply(status="302 Found", Location="/b")
    answers = iter([[HERE], ["10.0.0.1"]])

    async def changing(host, port, key):
        return next(answers)

    with pytest.raises(FetchFailed, match="no public address"):
        await get("/a", resolve=changing)
    assert len(web.asked) == 1


async def endless(writer):
    writer.write(reply(length=False, Transfer_Encoding="chunked"))
    while True:
        writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    "page",
    [
        reply(bytes(1001)),
        reply(bytes(1001), length=False),
        chunked(bytes(600), bytes(600)),
        reply(length=10**15),
        endless,
    ],
    ids=["length", "until the end", "chunks", "announced", "endless"],
)
async def test_a_body_beyond_the_limit_is_refused(web, get, page):
    web.pages["/a.png"] = page
    with pytest.raises(FetchFailed, match="larger than 1000 bytes"):
        await get("/a.png")


async def silent(writer):
    await asyncio.Event().wait()


async def trickle(writer):
    writer.write(reply(length=500))
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("page", [silent, trickle])
async def test_a_host_that_takes_its_time_is_left(web, get, page):
    web.pages["/a.png"] = page
    with pytest.raises(FetchFailed, match=r"within 0\.1 s"):
        await get("/a.png", seconds=0.1)


async def test_deadline_spans_all_redirects_and_lookups(web, get):
    async def never(host, port, key):
        await asyncio.Event().wait()

    with pytest.raises(FetchFailed, match=r"within 0\.05 s"):
        await get("/a.png", seconds=0.05, resolve=never)


HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"


async def test_endless_hints_are_refused(web, get):
    web.pages["/a.png"] = HINT * 16 + reply(PNG)
    assert await get("/a.png") == PNG
    web.pages["/a.png"] = HINT * 17 + reply(PNG)
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await get("/a.png")


async def test_body_in_tiny_pieces_is_refused(web, get):
    web.pages["/a.png"] = chunked(*[b"x"] * 1024)
    assert await get("/a.png", max_bytes=10**6) == b"x" * 1024
    web.pages["/a.png"] = chunked(*[b"x"] * 1030)
    with pytest.raises(FetchFailed, match="too many small pieces"):
        await get("/a.png", max_bytes=10**6)
    # As packets bring a large picture.
    web.pages["/a.png"] = chunked(*[bytes(600)] * 2000)
    assert await get("/a.png", max_bytes=10**7) == bytes(1_200_000)


async def test_others_run_while_pieces_are_read(web, get):
    web.pages["/a.png"] = chunked(*[b"x"] * 1000)
    ran = 0

    async def other():
        nonlocal ran
        while True:
            ran += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    reader = asyncio.StreamReader()
    reader.feed_data(web.pages["/a.png"])
    reader.feed_eof()
    before = ran
    await Fetcher(web.options(), 10**6)._exchange(fetch.parse(web.url("/a.png"), frozenset({web.port})), reader, Sink())
    task.cancel()
    assert ran - before >= 1000 // 32


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (reply(status="404 Not Found"), "status 404"),
        (reply(PNG, status="206 Partial"), "status 206"),
        (reply(status="302 Found"), "status 302"),
        (reply(PNG, Content_Encoding="gzip"), "compressed"),
        (reply(PNG, length=len(PNG) + 1), "could not be fetched"),
        (reply(PNG, length=-1), "could not be fetched"),
        (chunked(PNG)[:-5], "could not be fetched"),
        (b"SSH-2.0-OpenSSH\r\n", "could not be fetched"),
        (b"", "could not be fetched"),
        (b"HTTP/1.1 101 Switching\r\n\r\n" + PNG, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "could not be fetched"),
    ],
    ids=["404", "206", "no location", "gzip", "short", "negative", "cut", "no http", "nothing", "upgrade", "long head"],
)
async def test_incomplete_answer_is_refused(web, get, page, why):
    web.pages["/a.png"] = page
    with pytest.raises(FetchFailed, match=why):
        await get("/a.png")


@pytest.fixture
async def secure(web, tmp_path):
    """The web once more, encrypted; the file with its authority."""
    context, authorities = certificates(tmp_path, "pictures.example")
    await web.serve(ssl=context)
    return authorities


async def test_tls_host_proves_its_name_despite_dialled_address(web, get, secure):
    web.pages["/a.png"] = reply(PNG)
    assert await get(web.url("/a.png", scheme="https"), authorities=secure) == PNG


async def test_wrong_name_or_unknown_authority_is_not_believed(web, get, secure):
    web.pages["/a.png"] = reply(PNG)
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await get(web.url("/a.png", "other.example", "https"), authorities=secure)
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await get(web.url("/a.png", scheme="https"))
    assert web.asked == []


async def test_tls_host_may_not_redirect_to_plain_http(web, get, secure):
    web.pages["/a.png"] = reply(status="302 Found", Location=web.url("/b.png"))
    with pytest.raises(FetchFailed, match="from https to http"):
        await get(web.url("/a.png", scheme="https"), authorities=secure)

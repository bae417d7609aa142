"""Turns over a real WebSocket: what comes is acknowledged, told to the right turn, and ended once."""

import asyncio
from types import SimpleNamespace

import pytest

from bridge.chat.errors import ContentFiltered, UpstreamFailed
from bridge.chat.events import TextDelta, ThinkingDelta
from bridge.lingma.connection import Connection
from bridge.lingma.errors import DialFailed, RpcError
from bridge.lingma.inbox import MANY
from bridge.lingma.process.process import free_ports
from tests.bridge.lingma.conftest import ended, received_pieces
from tests.bridge.lingma.service import DIALECT, SILENT, answer, finish, framed


async def test_answer_comes_in_pieces_with_the_real_session(service, peer, ask):
    turn = ask()
    params = await service.got("chat/ask")
    assert (params["requestId"], params["questionText"]) == ("r1", "Hello")
    assert "id" not in service.received[-1]
    await peer.push(answer("Hel"), answer(""), answer("lo", extra={"sessionType": "chat"}), finish(fullAnswer="Hello"))
    assert "".join(await ended(turn)) == "Hello"
    assert (turn.end.error, turn.end.session_id, turn.text) == (None, "s-real", "Hello")


async def test_pushes_are_acknowledged_in_order_without_a_reader(service, peer, ask):
    turn = ask()
    pushes = [answer("a"), ("brand/new", {}), ("chat/think", {"requestId": "r1"}), answer("x", "foreign"), finish()]
    await peer.push(*pushes[:2])
    await peer.together(*pushes[2:])
    await service.until(lambda: len(service.acknowledged()) == 5)
    acknowledgements = [message for message in service.received if "method" not in message]
    assert acknowledgements == [{"jsonrpc": "2.0", "id": id_, "result": None} for id_ in range(1, 6)]
    assert turn.end is not None


async def test_push_is_acknowledged_before_the_reader_acts(service, connection, peer, ask):
    turn = ask()

    async def reader():
        while turn.end is None:
            await turn.drain()
        connection.stop(turn)

    reading = asyncio.create_task(reader())
    await peer.together(answer("a"), answer("b"), finish())
    await service.got("chat/stop")
    await reading
    order = [message.get("method") or message["id"] for message in service.received]
    assert order == ["chat/ask", 1, 2, 3, "chat/stop"]


class Passed(list):
    """Takes all that is passed on, and how much at once."""

    flow = SimpleNamespace(write_paused=False)

    def text(self, _text):
        self.append(1)
        return True

    def pieces(self, pieces):
        self.append(len(pieces))
        return True


@pytest.mark.parametrize("count", [2, MANY, MANY + 1, 2 * MANY])
async def test_flood_is_passed_on_together(service, peer, ask, count):
    turn, passed = ask(), Passed()
    ready = turn.until_ready(passed)
    await peer.together(*[answer("x")] * count)
    await service.until(lambda: len(service.acknowledged()) == count)
    await peer.push(finish())
    await asyncio.wait_for(ready, 30)
    assert sum(passed) + len(turn.take()) == count
    assert (passed[0] == 1) == (count <= MANY)


async def test_push_is_acknowledged_before_passed_on(service, connection, peer, ask):
    turn, passed = ask(), Passed()
    passed.text = lambda _text: connection.stop(turn) is None
    turn.until_ready(passed)
    await peer.push(answer("a"))
    await service.got("chat/stop")
    order = [message.get("method") or message["id"] for message in service.received]
    assert order == ["chat/ask", 1, "chat/stop"]


async def test_string_ids_go_back_unchanged(service, peer, ask):
    ask()
    await peer.send(peer.request(*answer("a"), id_="push-灵"), peer.request(*finish(), id_="0"))
    await service.until(lambda: len(service.acknowledged()) == 2)
    assert service.acknowledged() == ["push-灵", "0"]


async def test_notifications_are_read_and_not_acknowledged(service, peer, connection, ask):
    turn = ask()
    await peer.send({"method": "chat/answer", "params": answer("a")[1]})
    await peer.send({"method": "chat/finish", "params": finish()[1], "id": None})
    assert await ended(turn) == ["a"]
    await connection.request(("ping", {}), 5)
    assert service.acknowledged() == []


async def test_messages_may_be_merged_and_split(peer, ask):
    turn = ask()
    stream = b"".join(framed(peer.request(*push)) for push in [answer("通义"), answer("灵码"), finish()])
    await peer.send(*[stream[i : i + 7] for i in range(0, len(stream), 7)])
    assert "".join(await ended(turn)) == "通义灵码"


async def test_fragments_and_pings_are_part_of_the_way(peer, ask):
    turn = ask()
    stream = framed(peer.request(*answer("in pieces")))
    await peer.socket.send([stream[:9], stream[9:30], stream[30:]])
    pong = await peer.socket.ping()
    await peer.push(finish())
    assert await ended(turn) == ["in pieces"]
    await asyncio.wait_for(pong, 30)


async def test_repeated_request_is_acknowledged_twice_and_used_once(service, peer, ask):
    turn = ask()
    for push in (answer("a"), answer("b"), finish()):
        request = peer.request(*push)
        await peer.send(framed(request) + framed(request))
    assert "".join(await ended(turn)) == "ab"
    await service.until(lambda: service.acknowledged() == [1, 1, 2, 2, 3, 3])


async def test_same_words_twice_are_both_kept(peer, ask):
    turn = ask()
    await peer.push(answer("ha"), answer("ha"))
    await peer.send(*[{"method": "chat/answer", "params": answer("ho")[1]}] * 2)
    await peer.push(finish())
    assert "".join(await ended(turn)) == "hahahoho"


async def test_turns_are_kept_apart_when_they_are_interleaved(peer, ask):
    turns = [ask(f"r{number}") for number in range(3)]
    await peer.push(*[answer(f"{number}-{n};", f"r{number}") for n in range(4) for number in range(3)])
    await peer.push(*[finish(f"r{number}") for number in (2, 0, 1)])
    texts = ["".join(await ended(turn)) for turn in turns]
    assert texts == [f"{number}-0;{number}-1;{number}-2;{number}-3;" for number in range(3)]


async def test_content_stands_in_for_text(peer, ask):
    turn = ask()
    await peer.push(
        ("chat/answer", {"requestId": "r1", "content": "from content"}),
        ("chat/answer", {"requestId": "r1", "text": " text", "content": "not this"}),
        ("chat/answer", {"requestId": "r1", "text": None}),
        finish(),
    )
    assert "".join(await ended(turn)) == "from content text"


async def test_the_whole_answer_counts_when_nothing_was_streamed(peer, ask):
    turn = ask()
    await peer.push(finish(fullAnswer="all at once"))
    assert await ended(turn) == ["all at once"]
    assert turn.text == "all at once"


async def test_an_overwrite_that_goes_on_continues_the_text(peer, ask):
    turn = ask()
    await peer.push(answer("Hello"), answer("Hello world", overwrite=True), finish())
    assert "".join(await ended(turn)) == "Hello world"


async def test_a_finish_of_another_turn_ends_nothing(peer, ask):
    turn = ask()
    await peer.push(finish("foreign", code=500), answer("not mine", "foreign"), answer("mine"), finish())
    assert await ended(turn) == ["mine"]
    assert turn.end.error is None


async def test_events_after_the_end_are_ignored(service, peer, ask):
    turn = ask()
    await peer.together(answer("a"), finish(), finish(code=500), answer("late"), finish())
    assert await ended(turn) == ["a"]
    assert (turn.end.error, turn.text) == (None, "a")
    await service.until(lambda: len(service.acknowledged()) == 5)


async def test_error_finish_keeps_text_and_fails_the_turn(peer, ask):
    turn = ask()
    await peer.push(answer("half"), finish(code=601, reason="filtered"))
    assert await ended(turn) == ["half"]
    assert isinstance(turn.end.error, ContentFiltered)


async def test_logout_seen_by_a_turn_is_passed_on(connection, peer, ask):
    pushed = []
    connection.on_account_changed = lambda: pushed.append("account")
    turn = ask()
    await peer.push(finish(code=401))
    await ended(turn)
    assert pushed == ["account"]


async def test_request_form_result_is_no_end(service, peer, ask):
    service.answers["chat/ask"] = {"requestId": "r1", "success": True, "isSuccess": True, "errorMessage": ""}
    turn = ask(kind="request")
    await service.got("chat/ask")
    await peer.push(answer("a"), finish())
    assert await ended(turn) == ["a"]
    assert turn.end.error is None


@pytest.mark.parametrize(
    "result",
    [
        {"error": {"code": -32603, "message": "no quota left"}},
        {"success": False, "isSuccess": False, "errorMessage": "no quota left"},
        {"isSuccess": False, "errorMessage": "no quota left"},
    ],
)
async def test_rejected_question_fails_at_once(service, connection, ask, result):
    service.answers["chat/ask"] = result
    turn = ask(kind="request")
    await ended(turn)
    assert isinstance(turn.end.error, UpstreamFailed)
    assert "no quota left" in turn.end.error.message


async def test_results_and_errors_reach_their_callers(service, connection):
    service.answers |= {"a": {"n": 1}, "b": {"error": {"code": -32601, "message": "unknown method: b"}}, "c": SILENT}
    waits = {"a": 5, "b": 5, "c": 0.05}
    calls = [connection.request((method, {}), within) for method, within in waits.items()]
    a, b, c = await asyncio.gather(*calls, return_exceptions=True)
    assert (a, str(b), type(b), type(c)) == (b'{"n": 1}', "unknown method: b", RpcError, TimeoutError)


async def test_an_error_of_null_is_a_success(connection, peer):
    call = asyncio.create_task(connection.request(("silent", {}), 5))
    peer.service.answers["silent"] = SILENT
    await peer.service.got("silent")
    await peer.send({"id": 999, "result": 1}, {"id": "odd", "result": 1}, {"id": 1, "result": {"ok": 1}, "error": None})
    assert await call == b'{"ok": 1}'


async def test_a_stop_names_turn_and_session(service, connection, ask):
    turn = ask()
    connection.stop(turn)
    assert await service.got("chat/stop") == {"requestId": "r1", "sessionId": "s-mine"}


async def test_headers_are_sent_with_the_upgrade(service):
    connection = await Connection.dial(service.url, DIALECT, within=5, headers={"Cosy-MachineToken": "abc"})
    connection.close()
    assert service.headers[0]["Cosy-MachineToken"] == "abc"


async def test_absent_server_is_reported():
    [port] = free_ports(1)
    with pytest.raises(DialFailed, match=str(port)):
        await Connection.dial(f"ws://127.0.0.1:{port}/", DIALECT, within=5)


@pytest.mark.parametrize("url", ["wss://127.0.0.1:1/", "http://127.0.0.1:1/", "ws:///", "ws://127.0.0.1:99999/"])
async def test_urls_beside_plain_websockets_are_not_dialled(url):
    with pytest.raises(DialFailed):
        await Connection.dial(url, DIALECT, within=5)


@pytest.mark.parametrize("data", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", b"", b"SSH-2.0\r\n\r\n"])
async def test_foreign_server_is_reported(data):
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DialFailed):
            await Connection.dial(f"ws://127.0.0.1:{port}/", DIALECT, within=5)


async def test_server_without_handshake_is_given_up():
    gone = asyncio.Event()

    async def talk(reader, writer):
        await reader.read(-1)
        gone.set()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        with pytest.raises(DialFailed, match="no answer"):
            await Connection.dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", DIALECT, within=0.1)
        await asyncio.wait_for(gone.wait(), 30)


async def test_reasoning_comes_apart_from_the_text(peer, ask):
    turn = ask()
    thought = {"requestId": "r1", "text": "hm", "step": "start"}
    await peer.push(("chat/think", thought), ("chat/think", {"requestId": "r1", "text": "", "step": "done"}))
    await peer.push(("chat/think", thought | {"requestId": "other"}), answer("yes"), finish())
    assert await received_pieces(turn) == [ThinkingDelta("hm"), TextDelta("yes")]
    assert turn.text == "yes"

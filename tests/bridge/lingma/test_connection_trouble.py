"""What a broken connection or an odd push does to the turns of it."""

import asyncio

import pytest

from bridge.chat.errors import ConnectionLost, ContextFull, Overloaded, UpstreamFailed
from bridge.lingma import channel
from bridge.lingma.connection import Connection
from bridge.lingma.dialects.base import Ask
from bridge.lingma.errors import UploadFailed
from bridge.lingma.stream import ReplyStream, TurnLimits
from gateway_project.lib.ticker import Ticker
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import DIALECT, SILENT, answer, finish, framed

NESTED = b"[" * 2000 + b"]" * 2000


@pytest.mark.parametrize(
    "stream",
    [
        framed(b'{"method":'),
        framed(b"[]"),
        framed(b"\xff\xfe\x00"),
        b"Content-Length: x\r\n\r\n{}",
        b"Content-Type: json\r\n\r\n{}",
        b"Content-Length: 1\r\n\r\n{}Content-Length: 2\r\n\r\n{}",
        b"{}" * 3000,
    ],
    ids=["cut json", "array", "no utf-8", "odd length", "no length", "wrong length", "no head"],
)
async def test_unreadable_message_ends_connection_and_turns(connection, peer, ask, stream):
    turns = [ask("r1"), ask("r2")]
    await peer.send(stream)
    for turn in turns:
        await ended(turn)
        assert isinstance(turn.end.error, ConnectionLost)
    assert "unreadable" in await connection.lost


async def test_cut_connection_fails_turns_and_calls_at_once(service, connection, ask):
    service.answers["ping"] = SILENT
    turn, call = ask(), asyncio.create_task(connection.request(("ping", {}), 60))
    await service.got("ping")
    await service.drop()
    await ended(turn)
    assert isinstance(turn.end.error, ConnectionLost)
    with pytest.raises(ConnectionLost):
        await call
    assert await connection.lost


async def test_the_last_words_before_a_close_count(peer, connection, ask):
    turn = ask()
    await peer.push(answer("done"), finish())
    await peer.socket.close(1001)
    assert await ended(turn) == ["done"]
    assert turn.end.error is None
    assert await connection.lost


@pytest.mark.parametrize("kind", ["notification", "request"])
async def test_question_over_lost_connection_fails_at_once(connection, ask, kind):
    connection.close()
    await connection.lost
    try:
        turn = ask(kind=kind)
        await ended(turn)
        error = turn.end.error
    except ConnectionLost as exc:
        error = exc
    assert isinstance(error, ConnectionLost)


@pytest.mark.parametrize("method", ["error", "fatal_error", "chat/error"])
@pytest.mark.parametrize("who", [{"requestId": "r1"}, {}, {"requestId": None}])
async def test_a_fatal_push_fails_its_turn_or_all(peer, ask, method, who):
    turn = ask()
    await peer.push((method, who | {"message": "the model is down"}))
    await ended(turn)
    assert type(turn.end.error) is UpstreamFailed
    assert "the model is down" in turn.end.error.message


async def test_fatal_push_for_another_turn_is_left_alone(peer, ask):
    turn = ask()
    await peer.push(("chat/error", {"requestId": "foreign", "error": {"code": 5}}), answer("a"), finish())
    assert await ended(turn) == ["a"]


@pytest.mark.parametrize(
    "push",
    [
        {"method": "chat/answer", "id": 7},
        {"method": "chat/answer", "id": 7, "params": []},
        {"method": "chat/answer", "id": 7, "params": {"requestId": 5}},
        {"method": "chat/answer", "id": 7, "params": {"requestId": "r1", "text": {"a": 1}}},
        {"method": "chat/finish", "id": 7, "params": None},
        {"method": "brand/new", "id": 7, "params": [1]},
        {"method": "chat/error", "id": 7, "params": "x"},
        {"method": "tool/invoke", "id": 7, "params": None},
    ],
)
async def test_odd_push_is_acknowledged_and_harmless(service, peer, ask, push):
    turn = ask()
    await peer.send(push)
    await peer.push(answer("fine"), finish())
    assert await ended(turn) == ["fine"]
    await service.until(lambda: service.acknowledged() == [7, 1, 2])


METHODS = ["chat/answer", "chat/think", "chat/finish", "chat/error", "tool/invoke", "tool/call/sync", "brand/new"]


@pytest.mark.parametrize(
    "field", [b'"text":"\xe4\xbd"', b'"more":%b' % NESTED, b'"text":%b' % NESTED], ids=["half", "deep", "deep text"]
)
@pytest.mark.parametrize("method", [*METHODS, "image/uploadResultNotification"])
async def test_unreadable_push_costs_others_nothing(service, peer, ask, method, field):
    other = ask("r2")
    params = b'{%b,"requestId":"r1"}' % field
    await peer.send(framed(b'{"jsonrpc":"2.0","id":7,"method":"%b","params":%b}' % (method.encode(), params)))
    await peer.push(answer("fine", "r2"), finish("r2"))
    assert await ended(other) == ["fine"]
    await service.until(lambda: service.acknowledged() == [7, 1, 2])


async def test_deep_message_of_another_order_is_dropped(connection, peer, ask):
    turn = ask()
    await peer.send(framed(b'{"params":%b,"id":7,"method":"chat/answer"}' % NESTED))
    await peer.push(answer("fine"), finish())
    assert await ended(turn) == ["fine"]


@pytest.mark.parametrize("id_", [b"9" * 5000, b"-1", b"1.5", b'"1"', b"[1]", b"null"], ids=lambda each: str(each[:5]))
async def test_answer_to_no_question_costs_nothing(connection, peer, ask, id_):
    turn = ask()
    await peer.send(framed(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % id_))
    await peer.push(answer("here"), finish())
    assert await ended(turn) == ["here"]
    assert not connection.lost.done()


async def test_unreadable_error_is_an_error_still(service, peer, ask):
    service.answers["chat/ask"] = SILENT
    turn = ask(kind="request")
    await service.got("chat/ask")
    await peer.send(framed(b'{"id":%d,"error":{"message":"\xe4\xbd"}}' % service.received[-1]["id"]))
    await ended(turn)
    assert "unknown shape" in turn.end.error.message


@pytest.mark.parametrize("more", [b'"fullAnswer":{"text":"odd"}', b'"reason":"\xe4\xbd"'])
async def test_unreadable_finish_still_ends_its_turn(peer, ask, more):
    turn = ask()
    await peer.send(framed(b'{"method":"chat/finish","params":{"requestId":"r1","statusCode":200,%b}}' % more))
    await ended(turn)
    assert isinstance(turn.end.error, UpstreamFailed)


async def test_waiting_tool_is_denied_in_the_answer(service, peer, ask):
    ask()
    await peer.push(("tool/invoke", {"requestId": "r1", "toolCallId": "c1", "name": "read_file", "parameters": {}}))
    await service.until(service.acknowledged)
    result = service.received[-1]["result"]
    assert (result["toolCallId"], result["name"], result["success"], result["result"]) == ("c1", "read_file", False, {})
    assert "tool/invokeResult" not in service.methods()


async def test_an_asynchronous_tool_is_acknowledged_and_denied_later(service, peer, ask):
    ask()
    await peer.push(("tool/invoke", {"requestId": "r1", "toolCallId": "c1", "name": "read_file", "async": True}))
    denial = await service.got("tool/invokeResult")
    assert (denial["toolCallId"], denial["name"], denial["success"]) == ("c1", "read_file", False)
    assert [message.get("method") for message in service.received] == ["chat/ask", None, "tool/invokeResult"]
    assert service.received[1] == {"jsonrpc": "2.0", "id": 1, "result": None}


async def test_tool_awaiting_approval_is_refused_once(service, peer, ask):
    turn = ask()
    pending = {"requestId": "r1", "sessionId": "s1", "toolCallId": "c1", "toolCallStatus": "pending", "parameters": {}}
    await peer.push(("tool/call/sync", pending), ("tool/call/sync", pending | {"toolCallStatus": "RUNNING"}))
    await peer.push(("tool/call/sync", pending), answer("went on"), finish())
    assert await ended(turn) == ["went on"]
    approval, result = await service.got("tool/call/approve"), await service.got("tool/invokeResult")
    assert (approval["approval"], approval["toolCallId"], result["success"]) == (False, "c1", False)
    assert service.methods().count("tool/call/approve") == service.methods().count("tool/invokeResult") == 1


async def test_service_run_tool_is_only_acknowledged(service, peer, ask):
    turn = ask()
    done = {"requestId": "r1", "sessionId": "s1", "toolCallId": "c1", "toolCallStatus": "FINISHED", "results": []}
    await peer.push(("tool/call/sync", done), answer("done"), finish())
    await ended(turn)
    assert "tool/call/approve" not in service.methods()


async def test_pushes_of_no_turn_reach_the_owner(connection, peer, ask):
    pushed = asyncio.Queue()
    connection.on_account_changed = lambda: pushed.put_nowait("account")
    connection.on_unknown = pushed.put_nowait
    await peer.push(("config/refreshModels", {}), ("session/title/update", {"sessionId": "x"}), ("brand/new", {}))
    assert [await pushed.get(), await pushed.get()] == ["account", "brand/new"]


async def test_service_that_does_not_read_is_given_up(service, monkeypatch):
    monkeypatch.setattr(channel, "SEND_BUFFER_LIMIT", 1 << 16)
    connection = await Connection.dial(service.url, DIALECT, within=5)
    peer = await service.peers.get()
    peer.socket.transport.pause_reading()
    turn = ReplyStream("r1", "s1", TurnLimits(), Ticker())
    connection.ask(turn, Ask("r", "s", "x", "m"), "notification")
    calls = []
    while not connection.lost.done():
        calls.append(asyncio.create_task(connection.request(("ping", {"filler": "x" * (4 << 20)}), 60)))
        await asyncio.sleep(0)
    assert {type(lost) for lost in await asyncio.gather(*calls, return_exceptions=True)} == {ConnectionLost}
    await ended(turn)
    assert isinstance(turn.end.error, ConnectionLost)
    peer.socket.transport.abort()


@pytest.mark.parametrize("kind", ["notification", "request"])
async def test_oversized_question_costs_nobody_else_the_connection(connection, peer, ask, kind):
    other, large = ask("r1"), ReplyStream("r2", "s2", TurnLimits(), Ticker())
    with pytest.raises(ContextFull):
        connection.ask(large, Ask("r", "s", "x" * channel.SEND_BUFFER_LIMIT, "m"), kind)
    large.close()
    await peer.push(answer("still here", "r1"), finish("r1"))
    assert await ended(other) == ["still here"]


@pytest.mark.parametrize("kind", ["notification", "request"])
async def test_unread_questions_leave_no_room_for_more(service, kind):
    connection = await Connection.dial(service.url, DIALECT, within=5)
    peer = await service.peers.get()
    peer.socket.transport.pause_reading()
    turns = [ReplyStream(f"r{number}", "s1", TurnLimits(), Ticker()) for number in range(40)]

    def ask_all():
        for turn in turns:
            connection.ask(turn, Ask("r", "s", "x" * (4 << 20), "m"), kind)

    with pytest.raises(Overloaded):
        ask_all()
    with pytest.raises(UploadFailed, match="has not read"):
        await connection.upload("u1", "x" * (10 << 20), 5)
    assert not connection.lost.done()
    connection.close()
    peer.socket.transport.abort()
    await connection.lost
    for turn in turns:
        turn.close()

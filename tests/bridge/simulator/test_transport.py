"""Frames, framing and JSON-RPC manners, in both directions."""

import asyncio
import json
import os
import socket

import pytest
import websockets

from tests.bridge.simulator.harness import QUICK, frame, texts

PING = {"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {}}
SUCCESS = {"success": True}


async def test_both_paths_are_served_and_no_other(simulator):
    async with simulator.client(path="/ws") as client:
        assert await client.call("ping") == SUCCESS
    with pytest.raises(websockets.InvalidStatus, match="404"):
        await websockets.connect(f"ws://127.0.0.1:{simulator.port}/other")


async def test_text_and_binary_frames_are_read(simulator):
    async with simulator.client() as client:
        for message in (frame(PING), frame(PING).decode()):
            await client.socket.send(message)
            assert await client.answer_to(7) == SUCCESS


@pytest.mark.parametrize("size", [1, 5, 19, 23, 40])
async def test_slices_of_messages_make_no_difference(simulator, size):
    stream = b"".join(frame({**PING, "id": f"私-{number}"}) for number in range(4))
    async with simulator.client() as client:
        for at in range(0, len(stream), size):
            await client.socket.send(stream[at : at + size])
        assert [await client.answer_to(f"私-{number}") for number in range(4)] == [SUCCESS] * 4


async def test_fragments_and_pings_are_understood(simulator):
    async with simulator.client() as client:
        await client.socket.send([frame(PING)[:9], frame(PING)[9:]])
        assert await client.answer_to(7) == SUCCESS
        await (await client.socket.ping())


async def test_a_large_request_arrives_whole(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"{'长' * 1_000_000} [[sim: {QUICK} echo=prompt size=500000]]")
    assert text == "长" * 1_000_000


async def test_header_names_in_any_case_are_read(simulator):
    body = json.dumps(PING).encode()
    async with simulator.client() as client:
        await client.socket.send(b"content-type: x\r\nCONTENT-LENGTH:  %d\r\n\r\n%b" % (len(body), body))
        assert await client.answer_to(7) == SUCCESS


async def test_bare_json_is_logged_and_not_answered(simulator):
    async with simulator.client() as client:
        await client.socket.send(json.dumps(PING))
        assert await client.call("ping") == SUCCESS
    assert [message["id"] for message in client.messages] == [1, 2]
    assert "Unknown message header" in simulator.log()


async def test_unreadable_json_gets_the_parse_error(simulator):
    async with simulator.client() as client:
        await client.socket.send(frame(b"{oops"))
        assert (await client.answer_to(None))["code"] == -32700


async def test_calls_before_initialize_are_refused(simulator):
    async with simulator.client(initialize=False) as client:
        assert (await client.call("ping"))["code"] == -32002


async def test_unknown_request_is_refused_and_notification_logged(simulator):
    async with simulator.client() as client:
        await client.send("initialized")
        assert await client.call("session/new") == {"code": -32601, "message": "unknown method: session/new"}
    assert "err occur in initialized, isReq: false, err: unknown method: initialized" in simulator.log()


@pytest.mark.parametrize("params", [{}, {"params": []}])
async def test_missing_params_fail_as_in_go(simulator, params):
    async with simulator.client() as client:
        await client.socket.send(frame({"jsonrpc": "2.0", "id": "x", "method": "ping", **params}))
        assert "cannot unmarshal array into Go value" in (await client.answer_to("x"))["message"]


async def test_ids_of_pushes_are_growing_integers(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} chunks=4]]")
        assert [push["id"] for push in client.pushes] == list(range(1, len(client.pushes) + 1))


@pytest.mark.parametrize(("option", "kind"), [("ids=string", str), ("ids=none", None)])
async def test_pushes_can_have_other_ids(simulator, option, kind):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: {QUICK} text=hello {option}]]")
        assert text == "hello"
        assert {type(push["id"]) if "id" in push else None for push in client.pushes} == {kind}
        assert (await client.call("simulator/report"))["pending"] == 0


@pytest.mark.parametrize(
    "options",
    ["frame=binary", "merge=3", "split=1", "split=7", "split=3,18,-2", "fragment=11", "ping", "merge=2 split=50",
     "fragment=20 ping merge=3 split=64 frame=binary"],
)  # fmt: skip
async def test_odd_frames_carry_the_same_text(simulator, options):
    async with simulator.client() as client:
        text, finish = await client.chat(f'[[sim: {QUICK} text="你好，世界 hello" size=2 frame=binary {options}]]')
    assert (text, finish["statusCode"]) == ("你好，世界 hello", 200)


async def test_answers_are_not_held_back_to_be_merged(start):
    """Whoever waits for that of `initialize` sends nothing that would complete the pile."""
    async with start("--login=auto", "--merge=3").client() as client, asyncio.timeout(30):
        text, _ = await client.chat(f"[[sim: {QUICK} text=hello]]")
    assert text == "hello"


async def test_one_text_frame_per_message_is_the_default(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} chunks=3]]")
        assert len(client.frames) == len(client.messages)
        assert all(isinstance(data, str) for data in client.frames)


async def test_acknowledgements_count_whatever_their_result(simulator):
    async with simulator.client(ack=b'{"well": 1}') as client:
        await client.chat(f"[[sim: {QUICK} chunks=3]]")
        before = await client.call("simulator/report")
        assert before["pending"] == 0


async def test_a_missing_acknowledgement_is_logged(start):
    simulator = start("--login=auto", "--ack-timeout-ms=50")
    async with simulator.client(ack=None) as client:
        await client.chat(f"[[sim: {QUICK} text=x]]")
        line = r"\|Outbound\| request id: \d+, method: chat/answer failed: no response from client, timeout reached"
        assert simulator.wait_for_line(line)


async def test_the_gate_holds_the_next_push_back(start):
    simulator = start("--login=auto", "--ack-gate", "--ack-timeout-ms=60000")
    async with simulator.client(ack=None) as client:
        await client.ask(f"[[sim: {QUICK} text=x]]")
        await client.receive()
        report = await client.call("simulator/report")
        assert (len(client.pushes), report["pending"]) == (1, 1)


async def test_the_gate_opens_with_every_acknowledgement(start):
    async with start("--login=auto", "--ack-gate").client() as client:
        text, _ = await client.chat(f'[[sim: {QUICK} text="one by one" size=1]]')
    assert text == "one by one"


async def test_every_message_is_recorded_on_request(start):
    simulator = start("--login=auto", "--record")
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x]]")
        await client.call("ping")
    lines = [json.loads(line) for line in (simulator.work_dir / "received.jsonl").read_text().splitlines()]
    incoming = [line for line in lines if line["direction"] == "in"]
    assert [line["method"] for line in incoming if "method" in line] == ["initialize", "chat/ask", "ping"]
    assert {"id": 1, "result": None}.items() <= next(line for line in incoming if "method" not in line).items()
    assert texts([line for line in lines if line["direction"] == "out" and "method" in line]) == "x"


async def test_the_unix_socket_speaks_the_same(start):
    simulator = start("--ipc")
    os.stat(simulator.work_dir / "lingma.sock")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(simulator.work_dir / "lingma.sock"))
        stream.sendall(frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}))
        assert b'"serverInfo"' in stream.recv(65536)

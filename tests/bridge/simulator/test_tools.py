"""Agent turns: cards, approvals, invocations and results, in every order a client may choose."""

import pytest

from tests.bridge.simulator.harness import QUICK, methods, texts

READ = f"[[sim: {QUICK} text=done tools=read_file]]"
LIST = f"[[sim: {QUICK} text=done tools=list_dir tool_approval=false"


def states(client):
    return [push["params"].get("toolCallStatus") for push in client.pushes if push["method"] == "tool/call/sync"]


async def approve(client, event, approval=True):
    ids = {key: event[key] for key in ("sessionId", "requestId", "toolCallId")}
    await client.send("tool/call/approve", {"type": "tool_call", **ids, "approval": approval})


async def give_result(client, event, **fields):
    outcome = {"toolCallId": event["toolCallId"], "name": "read_file", "success": True, "errorMessage": "", **fields}
    await client.send("tool/invokeResult", outcome)


async def test_ide_tool_goes_the_whole_way(simulator):
    async with simulator.client() as client:
        await client.ask(READ, mode="agent")
        event = await client.push_named("tool/call/sync")
        await approve(client, event)
        invoked = await client.push_named("tool/invoke")
        await give_result(client, event, result={"content": "abc"})
        await client.push_named("chat/finish")
        last = await client.push_named("tool/call/sync")
    assert (invoked["name"], invoked["async"]) == ("read_file", True)
    assert states(client) == ["PENDING", "RUNNING", "FINISHED", "REQUEST_FINISHED"]
    assert last["toolCallId"] == ""
    assert f"```toolCall::read_file::{event['toolCallId']}::INIT\n```" in texts(client.pushes)


async def test_early_and_repeated_approvals_and_results_are_fine(simulator):
    async with simulator.client() as client:
        await client.ask(READ)
        event = await client.push_named("tool/call/sync")
        for _ in range(2):
            await give_result(client, event, result={})
            await approve(client, event)
        await client.push_named("chat/finish")
    assert states(client)[:3] == ["PENDING", "RUNNING", "FINISHED"]


async def test_requests_are_answered_too(simulator):
    async with simulator.client() as client:
        await client.ask(READ)
        event = await client.push_named("tool/call/sync")
        assert await client.call("tool/call/approve", {**event, "approval": True}) == {}
        outcome = {"toolCallId": event["toolCallId"], "success": False, "errorMessage": "no such file"}
        assert (await client.call("tool/invokeResult", outcome))["errorCode"] is None
        await client.push_named("chat/finish")
    assert "ERROR" in states(client)


async def test_rejected_tool_is_cancelled_and_agent_continues(simulator):
    async with simulator.client() as client:
        await client.ask(READ)
        await approve(client, await client.push_named("tool/call/sync"), approval=False)
        finish = await client.push_named("chat/finish")
    assert states(client)[:2] == ["PENDING", "CANCELLED"]
    assert finish["fullAnswer"].endswith("done")


async def test_client_silence_is_a_tool_error(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=done tools=read_file tool_timeout_ms=20]]")
        await client.chat(f"[[sim: {QUICK} text=done tools=read_file tool_timeout_ms=20 tool_approval=false]]", "r2")
        await client.call("ping")
    assert states(client) == ["PENDING", "ERROR", "REQUEST_FINISHED", "PENDING", "RUNNING", "ERROR", "REQUEST_FINISHED"]


async def test_synchronous_invocation_takes_answer_as_result(simulator):
    async with simulator.client(ack=b'{"success": true, "result": {"content": "abc"}}') as client:
        await client.chat(f"[[sim: {QUICK} text=done tools=read_file tool_async=false tool_approval=false]]")
    finished = [push["params"] for push in client.pushes if push["params"].get("toolCallStatus") == "FINISHED"]
    assert finished[0]["results"] == [{"content": "abc"}]


async def test_a_tool_of_the_service_needs_nobody(simulator):
    async with simulator.client() as client:
        await client.chat(f"{LIST}]]")
    assert states(client)[:3] == ["PENDING", "RUNNING", "FINISHED"]
    assert "tool/invoke" not in methods(client.pushes)


@pytest.mark.parametrize(("shape", "look"), [
    ("named", lambda event: event["name"]),
    ("nested", lambda event: event["toolCall"]["name"]),
    ("items", lambda event: event["results"][0]["name"]),
    ("data", lambda event: event["data"]["toolCall"]["toolName"]),
    ("snake", lambda event: event["tool_call"]["tool_name"]),
])  # fmt: skip
async def test_the_event_is_spelled_in_several_ways(simulator, shape, look):
    async with simulator.client() as client:
        await client.chat(f"{LIST} tool_lower tool_shape={shape}]]")
        events = [push["params"] for push in client.pushes if push["method"] == "tool/call/sync"]
    assert look(events[2]) == "list_dir"
    assert "finished" in str(events[2])


async def test_states_may_use_another_clients_words(simulator):
    async with simulator.client() as client:
        await client.chat(f"{LIST} tool_words=phases]]")
    assert states(client)[:3] == ["pending", "processing", "results"]


@pytest.mark.parametrize(("start", "seen"), [("running", ["RUNNING", "FINISHED"]), ("finished", ["FINISHED"])])
async def test_tool_may_be_announced_while_running(simulator, start, seen):
    async with simulator.client() as client:
        await client.chat(f"{LIST} tool_start={start} tool_card=false]]")
        await client.call("ping")
    assert states(client) == [*seen, "REQUEST_FINISHED"]
    assert "toolCall::" not in texts(client.pushes)


async def test_events_may_lack_an_id_and_come_twice(simulator):
    async with simulator.client() as client:
        await client.chat(f"{LIST} tool_ids=first tool_twice]]")
        await client.chat(f"{LIST} tool_ids=request]]", "r2")
    events = [push["params"] for push in client.pushes if push["params"].get("toolCallId")]
    assert ["requestId" in event for event in events] == [True, True, False, False, False, False, True, True, True]
    assert ["sessionId" in event for event in events] == [True] * 6 + [False] * 3


async def test_invocation_may_bring_result_and_echo(simulator):
    async with simulator.client() as client:
        await client.ask(f"[[sim: {QUICK} text=done tools=read_file tool_done tool_echo]]")
        await approve(client, await client.push_named("tool/call/sync"))
        assert (await client.push_named("tool/call/approve"))["approval"] is True
        invoked = await client.push_named("tool/invoke")
        assert invoked["result"] == {"content": "simulated"}
        await give_result(client, invoked, success=False)
        assert (await client.push_named("tool/invokeResult"))["requestId"] == "r1"


async def test_a_forced_function_can_be_forwarded(simulator):
    config = {"provider": "openai", "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x tool_forward tool_approval=false]]", toolConfig=config)
        plain, _ = await client.chat(f"[[sim: {QUICK} text=x]]", "r2", toolConfig=config)
    assert "toolCall::weather::" in texts(client.pushes)
    assert plain == "x"


async def test_calls_of_a_stopped_turn_are_over(simulator):
    async with simulator.client() as client:
        await client.ask(READ, "stopped", mode="agent", sessionId="stopped")
        await client.push_named("tool/call/sync")
        await client.call("chat/stop", {"requestId": "stopped"})
        await client.push_named("chat/finish")
        assert (await client.call("tool/call/results", {"sessionId": "stopped"}))["toolResults"] == []

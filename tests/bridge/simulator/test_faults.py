"""Each fault a turn can have, and faults of the process while turns run."""

import asyncio
import json

import pytest
import websockets

from tests.bridge.simulator.harness import QUICK, methods, texts

FIVE = f"{QUICK} chunks=5 after=2"


async def test_f1_drops_the_connection_after_some_text(simulator):
    async with simulator.client() as client:
        await client.ask(f"[[sim: {FIVE} fault=F1]]")
        with pytest.raises(websockets.ConnectionClosedError):
            await client.push_named("chat/finish")
    assert texts(client.pushes) == "word0000 word0001 "


async def test_f2_never_finishes(simulator):
    async with simulator.client() as client:
        await client.ask(f"[[sim: {FIVE} fault=no_finish]]")
        while (await client.call("simulator/report"))["running"]:
            pass
    assert "chat/finish" not in methods(client.pushes)


@pytest.mark.parametrize(("after", "text"), [(0, ""), (2, "word0000 word0001 ")])
async def test_f3_finishes_with_a_code_anywhere(simulator, after, text):
    async with simulator.client() as client:
        got, finish = await client.chat(f"[[sim: {QUICK} chunks=5 fault=F3 after={after} finish=31404]]")
    assert (got, finish["statusCode"]) == (text, 31404)


async def test_f4_finishes_a_foreign_turn_first(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {FIVE} fault=F4]]")
        finish = await client.push_named("chat/finish")
    ends = [push["params"]["requestId"] for push in client.pushes if push["method"] == "chat/finish"]
    assert (ends[0] != "r1", ends[1], finish["requestId"]) == (True, "r1", "r1")


async def test_f5_pushes_an_unknown_method(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: {FIVE} fault=F5]]")
    assert "chat/somethingNew" in methods(client.pushes)
    assert text.split()[-1] == "word0004"


@pytest.mark.parametrize("options", ["fault=F6 text=x", "first_ms=60000 text=x", f"{FIVE} fault=F7"])
async def test_f6_and_f7_are_stoppable_silence(simulator, options):
    async with simulator.client() as client:
        await client.ask(f"[[sim: {options}]]")
        await client.push_named("chat/process_step_callback")
        await client.call("chat/stop", {"requestId": "r1"})
        assert (await client.push_named("chat/finish"))["reason"] == "cancelled"


async def test_f7_goes_on_after_the_silence(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: {FIVE} fault=F7 silence_ms=20]]")
    assert text.split()[-1] == "word0004"


async def test_f8_cuts_long_prompts_only(simulator):
    cut = "fault=F8 cut_ms=30 cut_above=100 finish=418 chunks=3 first_ms=0"
    async with simulator.client() as client:
        _, short = await client.chat(f"[[sim: {cut} delay_ms=20]]")
        _, long = await client.chat(f"{'x' * 200} [[sim: {cut} delay_ms=60000]]", "r2")
    assert (len(short["fullAnswer"]), len(long["fullAnswer"])) == (27, 9)
    assert long["reason"] == "Unknown sse issue"


async def test_f9_has_the_texts_of_the_service(simulator):
    async with simulator.client() as client:
        _, blocked = await client.chat(f"[[sim: {FIVE} fault=F9]]")
        _, stream = await client.chat(f"[[sim: {FIVE} fault=F9 finish=418]]", "r2")
    assert (blocked["statusCode"], blocked["reason"]) == (406, "Session blocked, Please clear context try again")
    assert (stream["statusCode"], stream["reason"]) == (418, "Unknown sse issue")


async def test_f10_logs_out_in_mid_flight(start):
    async with start("--login=auto").client() as client:
        _, finish = await client.chat(f"[[sim: {FIVE} fault=F10]]")
        assert (await client.call("auth/status"))["status"] == 1
    assert finish["statusCode"] == 401
    assert "auth/report" in methods(client.pushes)


async def test_f11_renews_the_tokens(simulator):
    async with simulator.client() as client:
        before = (await client.call("auth/status"))["token"]
        _, finish = await client.chat(f"[[sim: {FIVE} fault=F11]]")
        assert (await client.call("auth/status"))["token"] != before
    assert finish["statusCode"] == 200
    assert "auth/syncTokenUpdate" in methods(client.pushes)


@pytest.mark.parametrize(("fault", "last"), [("F12", "chat/finish"), ("F13", "chat/answer")])
async def test_f12_and_f13_push_after_the_end(simulator, fault, last):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {FIVE} fault={fault}]]")
        assert (await client.push_named(last))["requestId"] == "r1"


async def test_f14_merges_frames_and_repeats_messages(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {FIVE} fault=F14]]")
        ids = [push["id"] for push in client.pushes]
    assert len(client.frames) < len(client.messages)
    assert ids[:4] == [1, 1, 2, 2]


async def test_f15_sends_a_message_of_a_given_size(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: {FIVE} fault=F15 oversize=3000000]]")
    assert text.count("x") == 3_000_000


async def test_f16_sends_json_that_cannot_be_read(simulator):
    async with simulator.client() as client:
        with pytest.raises(json.JSONDecodeError):
            await client.chat(f"[[sim: {FIVE} fault=F16]]")


async def test_f17_sends_a_wrong_length(simulator):
    async with simulator.client() as client:
        with pytest.raises(json.JSONDecodeError):
            await client.chat(f"[[sim: {FIVE} fault=F17]]")


async def test_f19_has_no_models_while_logged_in(start):
    async with start("--login=auto", "--fault=F19").client() as client:
        assert (await client.call("auth/status"))["status"] == 2
        assert await client.call("config/queryModels") == {}


async def test_f20_takes_turns_chunk_by_chunk(simulator):
    async with simulator.client() as client:
        for name in ("a", "b"):
            await client.ask("[[sim: first_ms=0 delay_ms=4 chunks=6 fault=F20]]", name)
        ends = [(await client.push_named("chat/finish"))["requestId"] for _ in range(2)]
    order = [push["params"]["requestId"] for push in client.pushes if push["method"] == "chat/answer"]
    assert sorted(ends) == ["a", "b"]
    assert all(first != second for first, second in zip(order[::2], order[1::2], strict=True))


@pytest.mark.parametrize("flag", ["--crash-on-turn=2", "--fault="])
async def test_f21_crashes_in_the_middle_of_a_turn(start, flag):
    simulator = start("--login=auto", "--exit-code=9", flag)
    fault = "fault=crash" if flag == "--fault=" else ""
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x]]")
        with pytest.raises(websockets.ConnectionClosedError):
            await client.chat(f"[[sim: {FIVE} {fault}]]", "r2")
    assert simulator.process.wait(30) == 9


async def test_f25_changes_the_models(start):
    async with start("--login=auto").client() as client:
        await client.chat(f"[[sim: {FIVE} fault=F25]]")
        keys = [item["key"] for item in (await client.call("config/queryModels"))["chat"]]
    assert "config/refreshModels" in methods(client.pushes)
    assert "brand_new_model" in keys


async def test_f26_turns_away_what_is_too_much(start):
    async with start("--login=auto", "--max-parallel=2").client() as client:
        for name in ("a", "b", "c"):
            await client.ask("[[sim: first_ms=60000 text=x]]", name)
        finish = await client.push_named("chat/finish")
    assert (finish["requestId"], finish["statusCode"]) == ("c", 429)


async def test_f27_omits_request_id_of_later_event(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {FIVE} fault=F27]]")
    events = [push["params"] for push in client.pushes if push["method"] == "tool/call/sync"]
    assert [("requestId" in event, event["toolCallId"]) for event in events] == [
        (True, "call-orphan"),
        (False, "call-orphan"),
    ]


async def test_f28_rewrites_the_user_file(simulator):
    path = simulator.work_dir / "cache/user"
    before = path.stat().st_ino
    async with simulator.client() as client:
        await client.chat(f"[[sim: {FIVE} fault=F28]]")
    assert path.stat().st_ino != before


@pytest.mark.parametrize("option", ["fault=F30", 'ask_error="out of order"'])
async def test_f30_fails_the_call_itself(simulator, option):
    async with simulator.client() as client:
        error = await client.call("chat/ask", {"requestId": "r", "questionText": f"[[sim: {option}]]"})
        await client.call("ping")
    assert error["code"] == -32603
    assert client.pushes == []


async def test_a_call_can_be_refused_in_its_result(simulator):
    async with simulator.client() as client:
        result = await client.call("chat/ask", {"requestId": "r", "questionText": "[[sim: ask_refused]]"})
    assert (result["success"], result["isSuccess"]) == (False, False)


async def test_many_turns_run_side_by_side(simulator):
    async with simulator.client() as client:
        for number in range(40):
            await client.ask("[[sim: first_ms=0 delay_ms=5 chunks=10]]", f"r{number}")
        async with asyncio.timeout(30):
            ends = {(await client.push_named("chat/finish"))["requestId"] for _ in range(40)}
        report = await client.call("simulator/report")
    assert len(ends) == 40
    assert (report["running"], report["pending"]) == (0, 0)

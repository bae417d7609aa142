"""A turn from chat/ask to chat/finish, sessions, thinking, usage lines, stopping."""

import base64
import json
import re

import pytest

from tests.bridge.simulator.harness import QUICK, methods, texts

CODES = [400, 401, 403, 406, 408, 409, 418, 429, 500, 601, 602, 604, 605, 31404, 40505, 90000]


async def test_the_pushes_of_a_turn_come_in_order(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=ab size=1 think=h context_usage finish=200]]")
    assert methods(client.pushes) == [
        "chat/process_step_callback", "chat/process_step_callback", "session/title/update", "chat/think", "chat/think",
        "chat/answer", "chat/answer", "context/usage/sync", "chat/finish",
    ]  # fmt: skip
    assert [push["params"]["step"] for push in client.pushes[:2]] == ["step_start", "step_end"]


async def test_ask_request_is_answered_first_in_both_spellings(simulator):
    async with simulator.client() as client:
        result = await client.call("chat/ask", {"requestId": "r", "questionText": f"[[sim: {QUICK} text=x]]"})
        assert client.pushes == []
        assert (await client.push_named("chat/finish"))["requestId"] == "r"
    assert (result["success"], result["isSuccess"], result["errorCode"]) == (True, True, None)


async def test_default_answer_quotes_question_and_admits_simulation(simulator):
    async with simulator.client() as client:
        prompt = "[System]\nBe kind.\n\n[User]\nWhat is a monad? [[sim: delay_ms=0]]"
        text, finish = await client.chat(prompt, extra={"modelConfig": {"key": "kmodel"}})
        chinese, _ = await client.chat("什么是单子? [[sim: delay_ms=0]]", "r2")
    assert "simulated" in text
    assert "“What is a monad?”" in text
    assert "kmodel" in text
    assert finish["fullAnswer"] == text
    assert "模拟" in chinese


async def test_the_prompt_may_be_in_the_context(simulator):
    async with simulator.client() as client:
        for number, context in enumerate([{"text": f"[[sim: {QUICK} text=x]]"}, f"[[sim: {QUICK} text=x]]"]):
            assert (await client.chat("", f"r{number}", chatContext=context))[0] == "x"
        refused = await client.call("chat/ask", {"requestId": "r", "questionText": ""})
    assert refused["code"] == -32602


async def test_the_last_marker_counts_and_none_is_echoed(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: text=no]] one [[sim: {QUICK} echo=prompt]] two")
    assert text == "one  two"


WRONG = [
    "chunk=3",
    "chunks=many",
    "text=",
    'text="open',
    "fault=F99",
    "fault=F18",
    "usage=much",
    "tool_args={",
    "ids=x",
    "text=base64:x",
]


async def test_a_value_may_be_encoded(simulator):
    async with simulator.client() as client:
        text, _ = await client.chat(f"[[sim: {QUICK} text=base64:{base64.b64encode('½ ]] said'.encode()).decode()}]] x")
    assert text == "½ ]] said"


@pytest.mark.parametrize("option", WRONG)
async def test_wrong_marker_is_named_in_the_finish(simulator, option):
    async with simulator.client() as client:
        _, finish = await client.chat(f"[[sim: {option}]]")
    assert (finish["statusCode"], finish["reason"][:16]) == (400, "simulator script")


async def test_answer_can_be_cut_and_spelled_many_ways(simulator):
    async with simulator.client() as client:
        await client.chat(f'[[sim: {QUICK} text="a \\"b\\" ]] c" size=3 empty=1 field=content]]')
    deltas = [push["params"] for push in client.pushes if push["method"] == "chat/answer"]
    assert [delta["content"] for delta in deltas] == ['a "', "", 'b" ', "", "]] ", "", "c", ""]
    assert all("text" not in delta for delta in deltas)


async def test_overwrite_replaces_what_was_sent(simulator):
    async with simulator.client() as client:
        _, finish = await client.chat(f"[[sim: {QUICK} text=wrong overwrite=right]]")
    last = client.pushes[-2]["params"]
    assert (last["text"], last["overwrite"], finish["fullAnswer"]) == ("right", True, "right")


@pytest.mark.parametrize(("option", "fields", "streamed", "full"), [
    ("full_answer=only", {}, "", "hello"), ("full_answer=empty", {}, "hello", ""), ("", {"stream": False}, "", "hello"),
])  # fmt: skip
async def test_the_full_answer_can_be_all_or_nothing(simulator, option, fields, streamed, full):
    async with simulator.client() as client:
        text, finish = await client.chat(f"[[sim: {QUICK} text=hello {option}]]", **fields)
    assert (text, finish["fullAnswer"]) == (streamed, full)


@pytest.mark.parametrize("code", CODES)
async def test_every_finish_code_can_be_asked_for(simulator, code):
    async with simulator.client() as client:
        text, finish = await client.chat(f"[[sim: {QUICK} text=partial finish={code} reason=because]]")
    assert (text, finish["statusCode"], finish["reason"]) == ("partial", code, "because")


async def test_thinking_comes_in_three_styles(simulator):
    async with simulator.client() as client:
        plain, _ = await client.chat(f"[[sim: {QUICK} text=x think=hmm size=2 think_end=end]]")
        thoughts = [push["params"] for push in client.pushes if push["method"] == "chat/think"]
        tags, _ = await client.chat(f"[[sim: {QUICK} text=x think=hmm think_style=tags size=2]]", "r2")
        fence, _ = await client.chat(f"[[sim: {QUICK} text=x think=hmm think_style=fence size=2]]", "r3")
    assert [(thought["text"], thought["step"]) for thought in thoughts] == [
        ("hm", "start"),
        ("m", "start"),
        ("", "end"),
    ]
    assert (plain, tags) == ("x", "<think>hmm</think>x")
    assert fence == "\n````think::{THINK_TIME}\nhmm\n````\nx"


async def test_a_session_remembers(simulator):
    async with simulator.client() as client:
        _, first = await client.chat(f"one [[sim: {QUICK} text=1]]")
        again = {"sessionId": first["sessionId"], "isReply": True}
        text, second = await client.chat(f"two [[sim: {QUICK} echo=history]]", "r2", **again)
        stored = await client.call("chat/getSessionById", {"sessionId": first["sessionId"]})
        await client.call("chat/deleteSessionById", {"sessionId": first["sessionId"]})
        gone = await client.call("chat/getSessionById", {"sessionId": first["sessionId"]})
    assert json.loads(text) == {"turns": 2, "isReply": True, "questions": ["one"]}
    assert second["sessionId"] == first["sessionId"]
    assert [(record["question"], record["answer"]) for record in stored["chatRecords"]] == [("one", "1"), ("two", text)]
    assert methods(client.pushes).count("session/title/update") == 1
    assert gone["message"] == "session not found"


async def test_an_unknown_session_id_is_adopted(simulator):
    async with simulator.client() as client:
        _, finish = await client.chat(f"[[sim: {QUICK} text=x]]", sessionId="mine")
        listed = await client.call("chat/listAllSessions")
    assert finish["sessionId"] == "mine"
    assert "mine" in [session["sessionId"] for session in listed]


async def test_sessions_can_be_strict(start):
    simulator = start("--login=auto", "--adopt-session=false", "--reply-unknown=error")
    async with simulator.client() as client:
        _, adopted = await client.chat(f"[[sim: {QUICK} text=x]]", sessionId="mine")
        lost = [await client.chat(f"[[sim: {QUICK} text=x]]", request, sessionId="lost", isReply=True)
                for request in ("r2", "r3")]  # fmt: skip
    assert adopted["sessionId"] != "mine"
    assert [(end["statusCode"], end["reason"]) for _, end in lost] == [(500, "session not found")] * 2


async def test_sessions_can_survive_a_restart(start):
    first = start("--login=auto", "--persist")
    async with first.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x]]", sessionId="mine")
    first.stop()
    async with start("--persist").client() as client:
        assert (await client.call("chat/getSessionById", {"sessionId": "mine"}))["chatRecords"][0]["answer"] == "x"


async def test_the_finish_can_name_another_session(simulator):
    async with simulator.client() as client:
        _, finish = await client.chat(f"[[sim: {QUICK} text=x session=other]]", sessionId="mine")
        _, fresh = await client.chat(f"[[sim: {QUICK} text=x session=new]]", "r2", sessionId="mine")
    assert finish["sessionId"] == "other"
    assert fresh["sessionId"] not in ("mine", "other")


async def test_unknown_model_is_default_or_error(start):
    asked = {"extra": {"modelConfig": {"key": "nobody"}}}
    simulator = start("--login=auto")
    async with simulator.client() as client:
        text, _ = await client.chat("hello [[sim: delay_ms=0 first_ms=0]]", **asked)
        simulator.control(unknown_model="error")
        _, finish = await client.chat("hello", "r2", **asked)
    assert "org_auto" in text
    assert finish["statusCode"] == 500


async def test_usage_is_logged_before_the_finish(simulator):
    async with simulator.client() as client:
        await client.chat(f'[[sim: {QUICK} text="one two three" usage=495,62]]', "usage-1")
        log = simulator.log()
        await client.chat(f'[[sim: {QUICK} text="one two three"]]', "usage-2")
    usage = {"completion_tokens": 62, "prompt_tokens": 495, "request_id": "usage-1", "total_tokens": 557}
    assert f"[TOKEN_USAGE]: {json.dumps(usage, separators=(',', ':'))}" in log
    assert '"completion_tokens":3,' in next(
        line for line in simulator.log().splitlines() if "usage-2" in line and "TOK" in line
    )


async def test_the_usage_can_come_late_or_never(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x usage_line=never]]", "usage-never")
        await client.chat(f"[[sim: {QUICK} text=x usage_line=after usage_late_ms=2000]]", "usage-late")
        assert '"request_id":"usage-late"' not in simulator.log()
        simulator.wait_for_line('TOKEN_USAGE.*"request_id":"usage-late"')
    assert '"request_id":"usage-never"' not in simulator.log()
    assert re.search(r"finish chat answer requestId: usage-never cost: \d+\.\ds", simulator.log())


async def test_late_usage_is_the_same_as_early_usage(simulator):
    async with simulator.client() as client:
        for way in ("before", "after"):
            await client.chat(f"[[sim: {QUICK} text=x usage_line={way}]] how much?", way, sessionId=way)
        pattern = 'prompt_tokens":([0-9]+),"request_id":"{}"'
        early, late = (simulator.wait_for_line(pattern.format(way))[1] for way in ("before", "after"))
    assert early == late


@pytest.mark.parametrize("method", ["chat/stop", "chat/stopSession"])
async def test_a_stopped_turn_finishes_as_cancelled(simulator, method):
    async with simulator.client() as client:
        await client.ask("[[sim: first_ms=0 delay_ms=60000 chunks=5]]", sessionId=method)
        await client.push_named("chat/answer")
        assert await client.call(method, {"requestId": "r1", "sessionId": method}) == {}
        finish = await client.push_named("chat/finish")
    assert (finish["statusCode"], finish["reason"], finish["fullAnswer"]) == (200, "cancelled", "word0000 ")


async def test_stop_of_an_ended_turn_does_nothing(simulator):
    async with simulator.client() as client:
        await client.chat(f"[[sim: {QUICK} text=x]]")
        assert await client.call("chat/stop", {"requestId": "r1"}) == {}
        await client.call("ping")
    assert methods(client.pushes).count("chat/finish") == 1


async def test_a_stop_can_be_ignored(simulator):
    async with simulator.client() as client:
        await client.ask("[[sim: first_ms=0 delay_ms=30 chunks=3 ignore_stop]]")
        await client.push_named("chat/answer")
        await client.call("chat/stop", {"requestId": "r1"})
        assert (await client.push_named("chat/finish"))["reason"] == "success"
    assert texts(client.pushes) == "word0000 word0001 word0002 "


async def test_generation_goes_on_when_the_client_leaves(simulator):
    async with simulator.client() as client:
        await client.ask("[[sim: first_ms=0 delay_ms=1000 chunks=3]]", "left-alone")
        await client.push_named("chat/answer")
    simulator.wait_for_line("finish chat answer requestId: left-alone")
    assert "is closed, ignore request chat/answer" in simulator.log()


async def test_image_upload_answers_and_notifies(simulator):
    async with simulator.client() as client:
        result = await client.call("image/upload", {"requestId": "i", "imageUri": "data:image/png;base64,AA=="})
        note = await client.push_named("image/uploadResultNotification")
    assert (result["errorCode"], result["result"]) == (None, {"success": True})
    assert note["result"]["requestId"] == "i"


async def test_a_seed_makes_ids_and_clock_repeat(start):
    seen = []
    for name in ("a", "b"):
        async with start("--login=auto", "--seed=7", name=name).client() as client:
            await client.chat(f"[[sim: {QUICK} chunks=3]]")
            seen.append(client.pushes)
    assert seen[0] == seen[1]

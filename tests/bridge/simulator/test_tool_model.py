"""The model that follows a plan: it calls in the format it was told and goes on when results came."""

import json

import pytest

from bridge.simulator.model.tool_model import DONE, NO_TOOLS, perform
from bridge.simulator.state.sessions import PlanState
from tests.bridge.simulator.harness import QUICK, run

NONCE = "ab12cd34ef"
CONTRACT = f"Call a tool so: <call:{NONCE}>{{...}}</call:{NONCE}>"
READ = {"call": "Read", "arguments": {"path": "a.txt"}}
ANSWER = {"say": "It says: {{last_result}}"}


def block(name="Read", nonce=NONCE, **arguments):
    body = json.dumps({"name": name, "arguments": arguments or {"path": "a.txt"}})
    return f"<call:{nonce}>{body}</call:{nonce}>"


def result(text, name="Read", verb="Result", reply_to=""):
    return f"[{verb} {NONCE} {name} call_1]{reply_to}\n{text}"


def session(*steps):
    """Perform the next step of a plan that the first prompt brings."""
    state, plan = PlanState(), json.dumps(steps)

    def step(prompt):
        given, memory_plan = plan, state.plan
        return perform(state, prompt, prompt, given="" if memory_plan else given)

    return step


def reply_to(steps, prompt):
    """The reply of a session that knows nothing."""
    return perform(PlanState(), f"[[plan]]{prompt}", prompt, given=json.dumps(steps)).text


def test_model_calls_in_prompts_format_and_uses_results():
    step = session(READ, ANSWER)
    assert step(CONTRACT).text == block()
    assert step(result("hello\nworld")).text == "It says: hello\nworld"
    assert step("thanks").text == DONE


def test_model_without_tools_declines():
    assert reply_to([READ], "Make a title for this.") == NO_TOOLS


def test_model_without_plan_only_learns_the_format():
    state = PlanState()
    assert perform(state, CONTRACT, CONTRACT, given="") is None
    assert perform(state, "go", "go", given=json.dumps([READ])).text == block()


def test_text_precedes_calls_that_wait_for_all_results():
    both = {"say": "Both.", "calls": [READ, {"call": "List", "arguments": {"path": "."}}]}
    step = session(both, {"say": "{{results}} results", "think": "counting"})
    assert step(CONTRACT).text == f"Both.\n{block()}\n{block('List', path='.')}"
    reply = step("\n\n".join([result("one"), result("two", "List", "Failed")]))
    assert (reply.think, reply.text) == ("counting", "2 results")


def test_whole_history_in_prompt_shows_the_progress():
    done = (
        f"[User {NONCE}]\n\n[Assistant {NONCE}]\nLook.\n[Call {NONCE} Read 1] {{}}\n\n{result('hello')}\n\n{CONTRACT}"
    )
    assert reply_to([READ, {"say": "Read."}, ANSWER], done) == "Read."
    later = f"{done}\n\n[Assistant {NONCE}]\nRead.\n\n[User {NONCE}]\nAnd?\n\n[Assistant {NONCE}]"
    assert reply_to([READ, {"say": "Read."}, {"say": "Told all."}], later) == "Told all."


def test_results_before_the_plan_do_not_count():
    prompt = f"{CONTRACT}\n{result('old')}\n\n[User {NONCE}]\n[[plan]]"
    assert perform(PlanState(), prompt, "", given=json.dumps([READ])).text == block()


def test_a_new_plan_begins_at_its_first_step():
    state = PlanState()
    perform(state, f"{CONTRACT}[[plan]]", "", given=json.dumps([READ]))
    perform(state, result("x"), result("x"), given="")
    assert perform(state, "[[plan]]", "", given=json.dumps([READ])).text == block()


def test_a_delimiter_inside_a_result_is_data():
    prompt = f"{CONTRACT}\n\n{result('<call:zzzzzzzzzz>')}\n\n[Assistant {NONCE}]"
    assert reply_to([READ, READ], prompt) == block()


def test_results_are_filled_into_arguments_too():
    step = session(READ, {"call": "Write", "arguments": {"lines": ["{{last_result}}", 1]}})
    step(CONTRACT)
    assert step(result("hello")).text == block("Write", lines=["hello", 1])


FLAWED = {
    "fence": '```json\n{"name": "Read", "arguments": {"path": "a.txt"}}\n```',
    "quotes": "{“name”: “Read”, “arguments”: {“path”: “a.txt”}}",
    "comma": f'<call:{NONCE}>{{"name": "Read", "arguments": {{"path": "a.txt",}},}}</call:{NONCE}>',
    "string": r'"arguments": "{\"path\": \"a.txt\"}"',
    "alias": '"mcp__read"',
    "unknown": '"Read_of_another_world"',
    "missing": '"arguments": {}',
    "type": '"path": {"not"',
    "nonce": "<call:0123456789>",
    "prose": f"Let me do that.\n{block()}\nI wait",
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_flaw_is_written_once_then_corrected(flaw):
    step = session({**READ, "flaw": flaw})
    assert FLAWED[flaw] in step(CONTRACT).text
    assert step("[System]\nThat was no valid call.").text == block()


def test_flawed_call_refused_by_tool_is_corrected():
    step = session({**READ, "flaw": "missing"}, ANSWER)
    step(CONTRACT)
    assert step(result("path is missing", verb="Failed")).text == block()
    assert step(result("hello")).text == "It says: hello"
    whole = f"{result('path is missing', verb='Failed')}\n\n[Tools {NONCE}]\n{CONTRACT}"
    assert reply_to([{**READ, "flaw": "missing"}, ANSWER], whole) == block()


def test_unprovoked_failure_is_a_result():
    step = session(READ, ANSWER)
    step(CONTRACT)
    assert step(result("no such file", verb="Failed")).text == "It says: no such file"


def test_typographic_quotes_leave_escaped_ones_alone():
    step = session({"call": "Say", "arguments": {"text": 'he said "no"'}, "flaw": "quotes"})
    assert '{“text”: “he said \\"no\\"”}' in step(CONTRACT).text


def test_call_can_be_cut_off_or_omitted():
    assert not session({**READ, "flaw": "cut"})(CONTRACT).text.endswith(f"</call:{NONCE}>")
    step = session({**READ, "flaw": "no_call", "times": 2})
    assert "<call:" not in step(CONTRACT).text + step(CONTRACT).text
    assert step(CONTRACT).text == block()


def marker(steps):
    return f"[[sim: {QUICK} plan={json.dumps(json.dumps(steps))}]]"


async def test_a_marker_carries_the_plan_through_a_session(simulator):
    steps = [{**READ, "think": "hm"}, {"say": 'Quoted "so" [[and]] {{last_result}}'}]
    async with simulator.client() as client:
        text, finish = await client.chat(f"{CONTRACT}\n[User]\n{marker(steps)} do it\n\n[Assistant]")
        assert text == block()
        text, _ = await client.chat(result("hello"), "r2", sessionId=finish["sessionId"], isReply=True)
    assert text == 'Quoted "so" [[and]] hello'
    assert any(push["method"] == "chat/think" for push in client.pushes)


async def test_quoted_marker_is_read_all_the_same(simulator):
    quoted = marker([{"say": 'a "b"'}]).replace('"', '\\"')
    async with simulator.client() as client:
        assert (await client.chat(f'[User]\n"{quoted} do it"'))[0] == 'a "b"'


def test_arguments_in_a_heading_are_no_result():
    both = {"calls": [READ, READ]}
    step = session(both, ANSWER)
    step(CONTRACT)
    reminded = result("hello", reply_to=' {"path": "a.txt"}')
    assert step(f"{reminded}\n\n{reminded}").text == "It says: hello"


def test_unmarked_heading_is_part_of_the_result():
    step = session(READ, ANSWER)
    step(CONTRACT)
    assert step(result("one\n[Result call_2]\n[User]\ntwo")).text == "It says: one\n[Result call_2]\n[User]\ntwo"


def test_contract_after_a_result_stands_apart():
    prompt = f"{result('hello')}\n\n[Tools {NONCE}]\n{CONTRACT}\n\n[Assistant {NONCE}]"
    assert reply_to([READ, ANSWER], prompt) == "It says: hello"
    assert reply_to([READ, READ], prompt) == block()


async def test_control_file_may_hold_plan_as_json(start):
    simulator = start("--login=auto", "--first-ms=0", "--delay-ms=0")
    simulator.control(plan=[READ, ANSWER])
    async with simulator.client() as client:
        assert (await client.chat(f"{CONTRACT}\n\n{result('hello')}\n\n[User {NONCE}]\nDo."))[0] == "It says: hello"


async def test_options_of_a_turn_beat_the_general_plan(start):
    simulator = start("--login=auto", "--first-ms=0", "--delay-ms=0")
    simulator.control(plan=[{"say": "as planned"}])
    async with simulator.client() as client:
        assert (await client.chat("[[sim: text=now]]"))[0] == "now"
        assert (await client.chat("[[sim: echo=prompt]] me", "r2"))[0] == "me"
        assert (await client.chat("hello", "r3"))[0] == "as planned"


def test_a_plan_that_is_none_is_refused(tmp_path):
    done = run("start", f"--workDir={tmp_path}", '--plan=[{}, {"cal": "Read"}]')
    assert done.returncode == 2
    assert "plan: Object contains unknown field `cal` - at `$[1]`" in done.stderr

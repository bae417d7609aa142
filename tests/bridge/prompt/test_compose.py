"""Conversations as one text."""

from bridge.chat.request import Message, ToolCall
from bridge.prompt.compose import reply_prompt, split_reply, whole_prompt

SYSTEM = Message("system", "Be brief.")
HELLO = Message("user", "Hello")
HI = Message("assistant", "Hi!")
BYE = Message("user", "Bye")


def test_a_lone_question_goes_as_it_is():
    assert whole_prompt([HELLO]) == "Hello"
    assert reply_prompt([BYE]) == "Bye"


def test_a_conversation_is_labelled_and_asks_for_the_next_answer():
    assert whole_prompt([SYSTEM, HELLO, HI, BYE]) == (
        "[System]\nBe brief.\n\n[User]\nHello\n\n[Assistant]\nHi!\n\n[User]\nBye\n\n[Assistant]"
    )


def test_a_lone_system_message_is_labelled():
    assert whole_prompt([SYSTEM]) == "[System]\nBe brief.\n\n[Assistant]"


def test_a_prefill_is_the_last_word():
    assert whole_prompt([HELLO, Message("assistant", "Well,")]) == "[User]\nHello\n\n[Assistant]\nWell,"


def test_tool_calls_and_their_results_are_told():
    calls = (ToolCall("c1", "read_file", '{"path":"a"}'), ToolCall("c2", "list", ""))
    prompt = whole_prompt([HELLO, Message("assistant", "", calls), Message("tool", "text of a", tool_call_id="c1")])
    assert prompt == (
        "[User]\nHello\n\n"
        '[Assistant]\n(called tool read_file, id c1, with {"path":"a"})\n(called tool list, id c2, with {})\n\n'
        "[Result of tool call c1: read_file]\ntext of a\n\n[Assistant]"
    )


def test_what_follows_the_last_answer_is_new():
    assert split_reply([SYSTEM, HELLO, HI, BYE]) == ([SYSTEM, HELLO, HI], [BYE])
    assert split_reply([HELLO, HI, BYE, HI, SYSTEM, BYE]) == ([HELLO, HI, BYE, HI], [SYSTEM, BYE])


def test_without_an_answer_everything_is_new():
    assert split_reply([SYSTEM, HELLO]) == ((), [SYSTEM, HELLO])
    assert split_reply([HELLO, HI]) == ([HELLO, HI], [])


def test_several_new_messages_are_labelled():
    assert reply_prompt([SYSTEM, BYE]) == "[System]\nBe brief.\n\n[User]\nBye"


READ = ToolCall("c1", "Read", '{"path":"a"}')
LIST = ToolCall("c2", "List", "")
CALLED = Message("assistant", "", (READ, LIST))
RESULT = Message("tool", "text of a", tool_call_id="c1")
LISTED = Message("tool", "a\nb", tool_call_id="c2")


def test_the_contract_stands_right_before_the_answer():
    assert whole_prompt([HELLO], "[Tools]\nUse them.") == "[User]\nHello\n\n[Tools]\nUse them.\n\n[Assistant]"


def test_a_prefill_follows_the_contract():
    messages = [HELLO, Message("assistant", "Well,")]
    assert whole_prompt(messages, "[Tools]\nUse them.") == "[User]\nHello\n\n[Tools]\nUse them.\n\n[Assistant]\nWell,"


def test_a_failed_call_is_told():
    failed = Message("tool", "No such file", tool_call_id="c1", is_error=True)
    assert "[Failed tool call c1: Read]\nNo such file" in whole_prompt([HELLO, CALLED, failed])
    assert reply_prompt([failed], [HELLO, CALLED]) == "[Failed tool call c1: Read]\nNo such file"


def test_a_new_result_names_its_call():
    assert reply_prompt([RESULT], [HELLO, CALLED]) == "[Result of tool call c1: Read]\ntext of a"


def test_several_new_results_tell_their_arguments_when_these_are_short():
    long = ToolCall("c2", "Write", '{"text":"%s"}' % ("x" * 200))
    prompt = reply_prompt([RESULT, LISTED], [HELLO, Message("assistant", "", (READ, long))])
    assert prompt == (
        '[Result of tool call c1: Read]\n(called with {"path":"a"})\ntext of a\n\n[Result of tool call c2: Write]\na\nb'
    )


def test_a_result_of_an_unknown_call_is_told_without_a_name():
    assert reply_prompt([RESULT], [HELLO, HI]) == "[Result of tool call c1]\ntext of a"


def test_large_results_pass_whole():
    large = Message("tool", "line\n" * 50_000, tool_call_id="c1")
    assert reply_prompt([large], [CALLED]).endswith("line\n" * 50_000)


def test_words_that_come_with_results_are_the_users():
    assert reply_prompt([RESULT, BYE], [CALLED]) == "[Result of tool call c1: Read]\ntext of a\n\n[User]\nBye"


def test_the_constraint_stands_last_in_a_known_session():
    assert reply_prompt([BYE], [HELLO, HI], "Call now.") == "Bye\n\nCall now."
    assert reply_prompt([RESULT], [CALLED], "Call now.").endswith("text of a\n\n[System]\nCall now.")


def test_old_calls_are_not_told_in_the_syntax_of_calls():
    assert "<call" not in whole_prompt([HELLO, CALLED, RESULT, LISTED])


def test_an_image_alone_is_a_turn():
    picture = Message("user", "", images=("data:image/png;base64,AA==",))
    assert whole_prompt([picture]) == "[image]"
    assert reply_prompt([picture]) == "[image]"
    assert whole_prompt([picture, HI, BYE]).startswith("[User]\n[image]\n\n")


def test_json_is_demanded_by_its_schema():
    assert whole_prompt([HELLO], reply_schema=b'{"type":"object"}').endswith(': {"type":"object"}\n\n[Assistant]')
    assert reply_prompt([BYE], reply_schema=b'{"type":"object"}').startswith(
        "Bye\n\nAnswer with JSON only that follows"
    )


def test_any_json_object_will_do():
    assert "one JSON object" in whole_prompt([HELLO], reply_schema=b"{}")


def test_the_demand_for_json_follows_the_contract():
    prompt = whole_prompt([HELLO], "[Tools]\nUse them.", b"{}")
    assert prompt.index("[Tools]\nUse them.") < prompt.index("Answer with JSON") < prompt.index("[Assistant]")


def test_nothing_is_never_asked():
    assert whole_prompt([Message("user", "")]) == "[User]"
    assert reply_prompt([Message("user", "")]) == "[User]"

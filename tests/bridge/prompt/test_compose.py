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

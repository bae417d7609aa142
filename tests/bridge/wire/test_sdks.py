"""The official clients read the golden streams."""

import anthropic
import httpx2
import openai
import pytest

from tests.bridge.wire.turns import GOLDEN, TURNS

GOOD_TURNS = [name for name in TURNS if not name.startswith("broken")]


def serving(path):
    """An HTTP client that gets the golden file, whatever it asks for."""
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    answer = (GOLDEN / path).read_bytes()
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=answer))
    )


def spoken(turn):
    return "".join(getattr(event, "text", "") for event in TURNS[turn])


def openai_stream(turn):
    with serving(f"openai_chat/{turn}.usage.sse") as http:
        client = openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=http, max_retries=0)
        with client.chat.completions.stream(model="m", messages=[]) as stream:
            return stream.get_final_completion()


def anthropic_stream(turn):
    with serving(f"anthropic/{turn}.sse") as http:
        client = anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=http, max_retries=0)
        with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            return stream.get_final_message()


@pytest.mark.parametrize("turn", [turn for turn in GOOD_TURNS if turn not in {"length", "filtered"}])
def test_the_openai_client_puts_the_reply_together(turn):
    completion = openai_stream(turn)
    assert completion.choices[0].message.role == "assistant"
    assert (completion.choices[0].message.content or "") == spoken(turn)
    assert completion.usage.total_tokens == 15


@pytest.mark.parametrize("turn", GOOD_TURNS)
def test_the_anthropic_client_puts_the_reply_together(turn):
    message = anthropic_stream(turn)
    assert "".join(block.text for block in message.content) == spoken(turn)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, 5)
    assert message.stop_reason is not None


@pytest.mark.parametrize("turn", ["broken", "broken_at_once"])
def test_both_clients_raise_when_a_stream_breaks(turn):
    with pytest.raises(openai.APIError, match="closed the connection"):
        openai_stream(turn)
    with pytest.raises(anthropic.APIError, match="closed the connection"):
        anthropic_stream(turn)

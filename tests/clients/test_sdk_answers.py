"""The official SDKs as a user has them: sync and async, whole and streamed, and the errors they raise."""

import anthropic
import openai
import pytest

from tests.e2e.installation import EXPIRED_KEY, KEY, until

SAY = '[[sim: text="Hello from the other side" size=4 usage="31,7"]] Say hello'
ASK = {"model": "org_auto", "messages": [{"role": "user", "content": SAY}]}
FAIL = "[[sim: fault=finish_code after={after} finish={code}]] x"

pytestmark = pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])


@pytest.fixture
def oai(gateway):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_oai(gateway):
    url = f"http://127.0.0.1:{gateway.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def ant(gateway):
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_ant(gateway):
    url = f"http://127.0.0.1:{gateway.port}"
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


def failing(code, after=0):
    return {"model": "org_auto", "messages": [{"role": "user", "content": FAIL.format(code=code, after=after)}]}


def test_openai_chats(oai):
    reply = oai.chat.completions.create(**ASK)
    assert reply.choices[0].message.content == "Hello from the other side"
    assert reply.choices[0].finish_reason == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (31, 7, 38)
    assert reply._request_id.startswith("req_")


def test_openai_streams(oai):
    chunks = list(oai.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "Hello from the other side"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 38


def test_openai_sends_no_usage_chunk_unasked(oai):
    chunks = list(oai.chat.completions.create(**ASK, stream=True))
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


def test_openai_stream_helper_gets_the_whole_message(oai):
    with oai.chat.completions.stream(**ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Hello from the other side"


async def test_openai_chats_asynchronously(async_oai):
    reply = await async_oai.chat.completions.create(**ASK)
    assert reply.choices[0].message.content == "Hello from the other side"
    stream = await async_oai.chat.completions.create(**ASK, stream=True)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(parts) == "Hello from the other side"


def test_openai_lists_models(oai):
    models = list(oai.models.list())
    assert "org_auto" in [model.id for model in models]
    assert oai.models.retrieve("org_auto").object == "model"
    with pytest.raises(openai.NotFoundError):
        oai.models.retrieve("llama-99")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, openai.BadRequestError), (401, openai.InternalServerError), (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError), (500, openai.InternalServerError), (601, openai.BadRequestError),
    ],
)  # fmt: skip
def test_openai_raises_by_status(oai, code, kind):
    with pytest.raises(kind) as caught:
        oai.chat.completions.create(**failing(code))
    assert caught.value.request_id.startswith("req_")
    assert caught.value.type


def test_openai_raises_in_mid_stream(oai):
    with pytest.raises(openai.APIError, match="failed the turn"):
        list(oai.chat.completions.create(**failing(500, after=3), stream=True))


@pytest.mark.parametrize("key", ["lgw_wrong", EXPIRED_KEY])
def test_both_sdks_raise_for_a_bad_key(oai, ant, key):
    with pytest.raises(openai.AuthenticationError):
        oai.with_options(api_key=key).chat.completions.create(**ASK)
    with pytest.raises(anthropic.AuthenticationError):
        ant.with_options(api_key=key).messages.create(**ASK, max_tokens=100)


def test_both_sdks_raise_for_an_invalid_body(oai, ant):
    with pytest.raises(openai.BadRequestError, match="messages"):
        oai.chat.completions.create(model="org_auto", messages=[])
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        ant.messages.create(model="org_auto", messages=[], max_tokens=10)


def test_anthropic_chats(ant):
    reply = ant.messages.create(**ASK, max_tokens=100)
    assert reply.content[0].text == "Hello from the other side"
    assert (reply.stop_reason, reply.usage.input_tokens, reply.usage.output_tokens) == ("end_turn", 31, 7)
    assert reply._request_id.startswith("req_")


def test_anthropic_streams(ant):
    with ant.messages.stream(**ASK, max_tokens=100) as stream:
        assert "".join(stream.text_stream) == "Hello from the other side"
        assert stream.get_final_message().stop_reason == "end_turn"
        assert stream.get_final_message().usage.output_tokens == 7


async def test_anthropic_chats_asynchronously(async_ant):
    reply = await async_ant.messages.create(**ASK, max_tokens=100)
    assert reply.content[0].text == "Hello from the other side"
    async with async_ant.messages.stream(**ASK, max_tokens=100) as stream:
        assert "".join([text async for text in stream.text_stream]) == "Hello from the other side"


def test_anthropic_counts_more_tokens_for_more_text(ant):
    def count(text, **more):
        messages = [{"role": "user", "content": text}]
        return ant.messages.count_tokens(model="org_auto", messages=messages, **more).input_tokens

    tool = {"name": "look", "description": "looks " * 50, "input_schema": {"type": "object"}}
    assert 0 < count("short") < count("a much longer text " * 50)
    assert count("short") < count("short", system="be brief " * 50)
    assert count("short") < count("short", tools=[tool])


def test_anthropic_lists_models_to_the_end(ant):
    ids = [model.id for model in ant.models.list()]
    assert "org_auto" in ids
    assert [model.id for model in ant.models.list(limit=1)] == ids
    assert ant.models.retrieve("org_auto").type == "model"
    with pytest.raises(anthropic.NotFoundError):
        ant.models.retrieve("llama-99")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, anthropic.BadRequestError), (401, anthropic.InternalServerError), (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError), (500, anthropic.InternalServerError), (601, anthropic.BadRequestError),
    ],
)  # fmt: skip
def test_anthropic_raises_by_status(ant, code, kind):
    with pytest.raises(kind) as caught:
        ant.messages.create(**failing(code), max_tokens=100)
    assert caught.value.request_id.startswith("req_")


def test_anthropic_raises_in_mid_stream(ant):
    with (
        pytest.raises(anthropic.APIStatusError, match="failed the turn"),
        ant.messages.stream(**failing(500, after=3), max_tokens=100) as stream,
    ):
        stream.until_done()


def test_anthropic_messages_may_hold_a_system_message(ant):
    messages = [{"role": "system", "content": "Be brief."}, *ASK["messages"]]
    reply = ant.messages.create(model="org_auto", max_tokens=100, messages=messages)
    assert reply.content[0].text == "Hello from the other side"


def test_anthropic_tool_runner_falls_back_to_whole_histories(ant):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ant.messages.create(**ASK, max_tokens=100, extra_body={"thread": {"type": "new"}})
    assert caught.value.body["error"]["details"]["error_code"] == "thread_unsupported_request"


async def test_a_cancelled_task_ends_its_turn(gateway, async_oai):
    question = "cancelled by its task"
    content = f'[[sim: text="first second" chunks=2 delay_ms=60000]] {question}'
    messages = [{"role": "user", "content": content}]
    stream = await async_oai.chat.completions.create(model=question, messages=messages, stream=True)
    await anext(aiter(stream))
    await stream.close()
    assert until(lambda: gateway.stops(question))
    assert gateway.row_of_model(question)["status"] == "cancelled"


def test_sdk_retries_succeed_once_a_place_is_free(gateway, oai):
    gateway.control(turns=[{"fault": "finish_code", "after": 0, "finish": 500}])
    reply = oai.with_options(max_retries=2).chat.completions.create(**ASK)
    gateway.control()
    assert reply.choices[0].message.content == "Hello from the other side"

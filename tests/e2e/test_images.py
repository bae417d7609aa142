"""Images that clients send: uploaded and referred to, or left out with a warning, or refused; never a path."""

import base64
import io

import anthropic
import openai
import pytest
from PIL import Image

from tests.bridge.images.pictures import bomb
from tests.e2e.agents import APIS, ChatAgent, MessagesAgent, ResponsesAgent, call, client_of, plan
from tests.e2e.formats import send
from tests.e2e.installation import KEY, METRICS_KEY

SEEN = "https://simulated.invalid/images/"
ANY_ERROR = (openai.BadRequestError, anthropic.BadRequestError)


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


@pytest.fixture
def agent(gateway, api, stream):
    return api(gateway, stream, tools=())


@pytest.fixture
def failing(gateway):
    """Uploads fail this way from now on, until the test ends."""
    yield lambda manner: gateway.control(image_upload=manner)
    gateway.control()


def png(colour="red", size=(40, 20)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def data_url(data, declared="image/png"):
    return f"data:{declared};base64,{base64.b64encode(data).decode()}"


def with_image(agent, text, url):
    """The content of a message with text and an image."""
    match agent:
        case ChatAgent():
            return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        case ResponsesAgent():
            image = {"type": "input_image", "image_url": url, "detail": "auto"}
            return [{"type": "input_text", "text": text}, image]
    source = {"type": "url", "url": url}
    if url.startswith("data:"):
        head, _, data = url.partition(";base64,")
        source = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
    return [{"type": "text", "text": text}, {"type": "image", "source": source}]


def uploads(gateway):
    return [each["params"] for each in gateway.received() if each.get("method") == "image/upload"]


def test_an_image_is_uploaded_and_referred_to(gateway, agent):
    before = len(uploads(gateway))
    question = f"[[sim: text=seen]] look at this {agent.name}"
    done = agent.ask(with_image(agent, question, data_url(png(), "image/jpeg")))
    [upload] = uploads(gateway)[before:]
    assert upload["imageUri"].startswith("data:image/png;base64,")  # what it is, not what it was called
    [asked] = gateway.asks(question)
    [url] = asked["chatContext"]["imageUrls"]
    assert url.startswith(SEEN)
    assert (done.text, "x-lingma-warning" in done.headers) == ("seen", False)


def test_several_images_are_shown_in_order(gateway, agent):
    question = f"[[sim: text=seen]] all of these {agent.name}"
    first = with_image(agent, question, data_url(png("red")))
    agent.ask([*first, with_image(agent, "", data_url(png("blue")))[1]])
    [asked] = gateway.asks(question)
    assert len(set(asked["chatContext"]["imageUrls"])) == 2
    assert asked["questionText"].count("[image]") == 2


@pytest.mark.parametrize("manner", ["failed", "refused", "error"])
def test_refused_image_costs_no_turn(gateway, agent, failing, manner):
    failing(manner)
    question = f"[[sim: echo=prompt]] not taken {manner} {agent.name}"
    done = agent.ask(with_image(agent, question, data_url(png())))
    assert "[image]" in done.text
    assert "1 of 1 images could not be passed on" in done.headers["x-lingma-warning"]
    [asked] = gateway.asks(f"not taken {manner} {agent.name}")
    assert not asked["chatContext"].get("imageUrls")
    told = send(gateway, "GET", "/metrics", key=METRICS_KEY).body.decode()
    assert 'lingma_gateway_image_failures_total{reason="upload"}' in told


@pytest.mark.parametrize(
    "url",
    [
        data_url(b"just text"), data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        "data:image/png;base64,@@@@", data_url(b""), data_url(png()[:60]),
    ],
    ids=["text", "svg", "base64", "empty", "cut"],
)  # fmt: skip
def test_non_image_is_refused_in_api_words(gateway, agent, url):
    with pytest.raises(ANY_ERROR) as caught:
        agent.ask(with_image(agent, f"no image {agent.name}", url))
    assert caught.value.body["type" if not isinstance(agent, MessagesAgent) else "error"]
    assert gateway.row(caught.value.request_id)["reason"] == "invalid_request"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/a.png", "https://example.org/a.png", "file:///etc/passwd", "/etc/passwd", "ftp://x/a.png"],
)
def test_addresses_are_refused(gateway, agent, url):
    before = len(uploads(gateway))
    with pytest.raises(ANY_ERROR):
        agent.ask(with_image(agent, "an address", url))
    assert len(uploads(gateway)) == before
    assert not gateway.asks("an address")


def result_with_image(agent, id_, url):
    """The result of a call that is an image."""
    image = with_image(agent, "shot", url)
    match agent:
        case ChatAgent():
            return {"role": "tool", "tool_call_id": id_, "content": image}
        case ResponsesAgent():
            return {"type": "function_call_output", "call_id": id_, "output": image}
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": image}]}


def test_an_image_in_a_result_is_uploaded(gateway, api, stream):
    agent = api(gateway, stream)
    first = agent.ask(plan(call("clock"), call("clock"), {"say": "Seen."}))
    agent.history.append(result_with_image(agent, first.calls[0][0], data_url(png())))
    second = agent._go({})
    [asked] = gateway.asks(first.calls[0][0])
    assert len(asked["chatContext"]["imageUrls"]) == 1
    assert "[image]" in asked["questionText"]
    assert second.session == "reused"
    third = agent.answer(second, "no image")
    assert (third.session, third.text) == ("reused", "Seen.")
    assert not gateway.asks(second.calls[0][0])[0]["chatContext"].get("imageUrls")


def test_broken_image_in_result_costs_no_turn(gateway, api, stream):
    agent = api(gateway, stream)
    first = agent.ask(plan(call("clock"), {"say": "Seen."}))
    agent.history.append(result_with_image(agent, first.calls[0][0], data_url(png()[:60])))
    done = agent._go({})
    assert (done.text, done.session) == ("Seen.", "reused")
    assert "1 of 1 images" in done.headers["x-lingma-warning"]
    [asked] = gateway.asks(first.calls[0][0])
    assert "[image]" in asked["questionText"]
    assert not asked["chatContext"].get("imageUrls")


def test_refused_image_does_not_end_the_conversation(gateway, agent):
    with pytest.raises(ANY_ERROR) as caught:
        agent.ask(with_image(agent, "what is this?", data_url(png()[:60])))
    words = "Could not process image" if isinstance(agent, MessagesAgent) else "does not represent a valid image"
    assert words in str(caught.value)
    done = agent.ask("[[sim: text=fine]] never mind")  # the image is still in the history
    assert (done.text, "1 of 1 images" in done.headers["x-lingma-warning"]) == ("fine", True)


def test_earlier_image_is_not_uploaded_again(gateway, agent):
    agent.ask(with_image(agent, "[[sim: text=seen]] once", data_url(png("green"))))
    before = len(uploads(gateway))
    done = agent.ask("[[sim: text=fine]] and now in words")
    assert (done.session, done.text, len(uploads(gateway))) == ("reused", "fine", before)


def test_a_large_image_is_made_smaller(gateway):
    agent = ChatAgent(gateway, stream=False, tools=())
    agent.ask(with_image(agent, "[[sim: text=seen]] large", data_url(png(size=(5000, 100)))))
    sent = base64.b64decode(uploads(gateway)[-1]["imageUri"].partition(",")[2])
    assert Image.open(io.BytesIO(sent)).size[0] == 2048


def test_a_bomb_is_refused(gateway):
    agent = MessagesAgent(gateway, stream=True, tools=())
    with pytest.raises(anthropic.BadRequestError):
        agent.ask(with_image(agent, "a bomb", data_url(bomb(30_000, 30_000))))


def test_a_bad_image_does_not_cost_the_session(gateway, agent):
    assert agent.ask("[[sim: text=fine]] begin").session == "new"
    with pytest.raises(ANY_ERROR):
        agent.ask(with_image(agent, "what is this?", data_url(b"no image")))
    agent.history.pop()
    assert agent.ask("[[sim: text=fine]] in words, then").session == "reused"


def test_tokens_of_images_can_be_counted(gateway):
    content = with_image(MessagesAgent(gateway, stream=False), "x", data_url(png()))
    client = client_of(gateway, anthropic.Anthropic)
    assert client.messages.count_tokens(model="m", messages=[{"role": "user", "content": content}]).input_tokens > 0


def test_newest_images_are_kept_in_a_full_request(gateway):
    agent = ChatAgent(gateway, stream=False, tools=())
    first = with_image(agent, "[[sim: text=seen]] too many", data_url(png()))
    done = agent.ask([*first, *[first[1]] * 11])
    [asked] = gateway.asks("too many")
    assert len(asked["chatContext"]["imageUrls"]) == 10
    assert "2 of 12" in done.headers["x-lingma-warning"]


def test_raw_refusal_has_the_shape_of_the_api(gateway, api, stream):
    agent = api(gateway, stream)
    body = agent.body(with_image(agent, "x", data_url(b"no image")))
    answer = send(gateway, "POST", agent.path, key=KEY, body=body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert ("type" in answer.json()) is (api is MessagesAgent)

"""Turns with images: uploaded to the instance that answers, and named in its question."""

import asyncio
import base64
import io

import pytest
from PIL import Image

from bridge.chat.errors import InvalidRequest
from bridge.chat.events import KeepAlive
from bridge.chat.request import ChatRequest, Message
from tests.bridge.chats import Reading, chat, replying


def picture(colour):
    data = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


RED, BLUE = picture("red"), picture("blue")
WITH_IMAGE = Message("user", "What is this?\n[image]", images=(RED,))


def asking(*messages):
    return ChatRequest("org_auto", messages, stream=True)


def uploads(service):
    return [message["params"] for message in service.received if message.get("method") == "image/upload"]


async def take(peer, params, error=None):
    """Tell what became of an upload; the images of this service are named by the id of their upload."""
    request_id = params["requestId"]
    result = {"requestId": request_id, "imageUrl": "" if error else f"https://images.invalid/{request_id}"}
    params = {"errorCode": error, "errorMessage": error, "result": result}
    await peer.send({"jsonrpc": "2.0", "method": "image/uploadResultNotification", "params": params})


async def refuse(peer, params):
    await take(peer, params, "FILE_TOO_LARGE")


@pytest.fixture
async def service(new_service):
    service = await new_service(replying("Red."))
    service.answers["image/upload"] = {"errorCode": None, "result": {"success": True}}
    service.on_upload = take
    return service


async def test_image_is_uploaded_and_named_in_question(new_engine, service):
    done = await chat(await new_engine(service), asking(WITH_IMAGE))
    [upload] = uploads(service)
    assert upload["imageUri"] == RED
    assert service.asks()[0]["chatContext"]["imageUrls"] == [f"https://images.invalid/{upload['requestId']}"]
    assert done.record.warnings == []


async def test_session_gets_only_images_it_has_not_seen(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions)
    await chat(engine, asking(WITH_IMAGE))
    more = (WITH_IMAGE, Message("assistant", "Red."), Message("user", "And this?\n[image]", images=(BLUE,)))
    done = await chat(engine, asking(*more))
    assert (done.record.session, [each["imageUri"] for each in uploads(service)]) == ("reused", [RED, BLUE])


async def test_newest_images_of_whole_history_are_sent(new_engine, service):
    history = (WITH_IMAGE, Message("assistant", "Red."), Message("user", "Sure?"))
    await chat(await new_engine(service), asking(*history))
    assert [each["imageUri"] for each in uploads(service)] == [RED]


@pytest.mark.parametrize("speaker", ["user", "assistant"])
async def test_older_images_are_named_in_warning(new_engine, service, speaker):
    older = Message(speaker, "Look.\n[image]", images=(BLUE,))
    history = (older, Message("assistant", "Blue."), WITH_IMAGE, Message("assistant", "Red."), Message("user", "Sure?"))
    done = await chat(await new_engine(service), asking(*history))
    assert [each["imageUri"] for each in uploads(service)] == [RED]
    assert done.record.warnings == ["1 of 2 images could not be passed on"]


async def test_older_images_of_known_session_are_there(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions)
    talk = [WITH_IMAGE]
    for _ in range(2):
        done = await chat(engine, asking(*talk))
        talk += [Message("assistant", done.text), Message("user", "And this?\n[image]", images=(BLUE,))]
    assert (done.record.session, done.record.warnings) == ("reused", [])


async def test_another_image_is_another_conversation(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions)
    await chat(engine, asking(WITH_IMAGE))
    other = Message("user", WITH_IMAGE.text, images=(BLUE,))
    done = await chat(engine, asking(other, Message("assistant", "Red."), Message("user", "Sure?")))
    assert done.record.session == "new"


async def test_refused_image_is_a_warning(new_engine, service):
    service.on_upload = refuse
    done = await chat(await new_engine(service), asking(WITH_IMAGE))
    assert (done.text, done.record.warnings) == ("Red.", ["1 of 1 images could not be passed on"])
    assert "imageUrls" not in service.asks()[0]["chatContext"]
    assert "[image]" in service.asks()[0]["questionText"]


async def test_image_not_delivered_is_sent_again(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions)
    service.on_upload = refuse
    await chat(engine, asking(WITH_IMAGE))
    service.on_upload = take
    done = await chat(engine, asking(WITH_IMAGE, Message("assistant", "Red."), Message("user", "Sure?")))
    assert (done.record.session, done.record.warnings) == ("new", [])
    assert len(service.asks()[1]["chatContext"]["imageUrls"]) == 1


async def test_undelivered_image_ends_known_session(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions)
    talk = [WITH_IMAGE, Message("assistant", "Red."), Message("user", "And this?\n[image]", images=(BLUE,))]
    await chat(engine, asking(WITH_IMAGE))
    service.on_upload = refuse
    done = await chat(engine, asking(*talk))
    assert (done.record.session, len(done.record.warnings)) == ("reused", 1)
    done = await chat(engine, asking(*talk, Message("assistant", "Red."), Message("user", "Sure?")))
    assert (done.record.session, len(done.record.warnings)) == ("new", 1)


async def test_broken_image_is_the_clients_error(new_engine, service):
    broken = Message("user", "[image]", images=("data:image/png;base64,AAAA",))
    with pytest.raises(InvalidRequest):
        await chat(await new_engine(service), asking(broken))
    assert service.asks() == []


async def test_client_hears_of_turn_during_image_upload(new_engine, service):
    taken = asyncio.Event()

    async def slowly(peer, params):
        await taken.wait()
        await take(peer, params)

    service.on_upload = slowly
    reading = Reading(await new_engine(service, keepalive=0.01), asking(WITH_IMAGE))
    await reading.until(KeepAlive)
    taken.set()
    assert (await reading.to_end()).text == "Red."

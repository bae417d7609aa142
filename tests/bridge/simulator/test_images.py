"""Images: uploaded, told of in every manner a script knows, and seen by the question that names them."""

import json

import pytest

from tests.bridge.simulator.harness import QUICK, texts

UPLOADED = "image/uploadResultNotification"
TINY = "data:image/png;base64,iVBORw0KGgo="


def upload(client, uri=TINY, request_id="u1"):
    return client.call("image/upload", {"requestId": request_id, "imageUri": uri})


async def test_upload_is_answered_then_notified(simulator):
    async with simulator.client() as client:
        answer = await upload(client)
        pushed = await client.push_named(UPLOADED)
    assert answer == {"requestId": "u1", "errorCode": None, "errorMessage": None, "result": {"success": True}}
    assert (pushed["errorCode"], pushed["errorMessage"], pushed["result"]["requestId"]) == (None, None, "u1")
    assert pushed["result"]["imageUrl"].startswith("https://simulated.invalid/images/")
    assert "id" not in client.pushes[-1]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("/etc/hostname", "LOCAL_PATH_NOT_SUPPORTED"),
        ("file:///etc/hostname", "LOCAL_PATH_NOT_SUPPORTED"),
        ("https://images.example/a.png", "LOCAL_PATH_NOT_SUPPORTED"),
        ("data:image/png;base64,no base64", "INVALID_IMAGE"),
        ("data:image/png;base64,", "INVALID_IMAGE"),
        ("data:text/plain;base64,aGk=", "INVALID_IMAGE"),
        ("data:image/png;base64," + "A" * 10_000_004, "FILE_TOO_LARGE"),
    ],
    ids=["path", "file", "https", "garbage", "empty", "text", "large"],
)
async def test_unfit_image_is_not_taken(simulator, uri, code):
    async with simulator.client() as client:
        answer = await upload(client, uri)
    assert (answer["errorCode"], answer["result"]) == (code, {"success": False})


async def test_an_upload_needs_an_id_of_its_own(simulator):
    async with simulator.client() as client:
        error = await client.call("image/upload", {"imageUri": TINY})
    assert (error["code"], error["message"]) == (-32602, "requestId is empty")


async def messages_of(client):
    """What an upload brings until the answers to later requests, which nothing overtakes."""
    before = len(client.messages)
    await client.send("image/upload", {"requestId": "u1", "imageUri": TINY}, id="up")
    await client.call("ping")
    await client.call("ping")
    return client.messages[before:]


@pytest.mark.parametrize(
    ("manner", "shape"),
    [
        ("ok", ["answer", "pushed"]),
        ("early", ["pushed", "answer"]),
        ("twice", ["answer", "pushed", "pushed"]),
        ("request", ["answer", "asked"]),
        ("late", ["answer"]),
        ("silent", ["answer"]),
        ("mute", []),
        ("error", ["error"]),
        ("refused", ["answer"]),
        ("failed", ["answer", "pushed"]),
    ],
)
async def test_a_script_decides_what_follows_an_upload(start, manner, shape):
    async with start("--login=auto", f"--image-upload={manner}").client() as client:
        messages = await messages_of(client)
    names = [
        ("asked" if "id" in message else "pushed")
        if "method" in message
        else ("error" if "error" in message else "answer")
        for message in messages
        if message.get("id") == "up" or message.get("method") == UPLOADED
    ]
    assert names == shape


async def test_a_late_notice_comes_after_its_time(start):
    simulator = start("--login=auto", "--image-upload=late", "--image-ms=30")
    async with simulator.client() as client:
        await upload(client)
        assert (await client.push_named(UPLOADED))["result"]["imageUrl"]


async def test_failed_upload_has_a_code_and_no_url(start):
    simulator = start("--login=auto", "--image-upload=failed")
    async with simulator.client() as client:
        await upload(client)
        pushed = await client.push_named(UPLOADED)
    assert (pushed["errorCode"], pushed["result"]) == ("UPLOAD_FAILED", {"requestId": "u1"})


async def test_question_sees_only_images_uploaded_here(simulator):
    async with simulator.client() as client:
        await upload(client)
        url = (await client.push_named(UPLOADED))["result"]["imageUrl"]
        urls = [url, "https://elsewhere.invalid/b.png"]
        await client.chat(f"[[sim: {QUICK}]] What is this?", chatContext={"imageUrls": urls})
    assert "1 image came along." in texts(client.pushes)


async def test_an_echo_shows_the_images_of_a_question(simulator):
    async with simulator.client() as client:
        context = {"text": "", "imageUrls": ["https://elsewhere.invalid/b.png"]}
        await client.chat(f"[[sim: {QUICK} echo=params]]", chatContext=context)
    assert json.loads(texts(client.pushes))["chatContext"] == context

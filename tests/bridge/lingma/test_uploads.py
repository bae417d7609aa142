"""Images on their way to the service: an answer at once, a URL later, and every way in which neither comes."""

import asyncio
import json

import pytest

from bridge.chat.errors import ConnectionLost, UpstreamTimeout
from bridge.lingma import uploads as module
from bridge.lingma.errors import UploadFailed, UploadTimedOut
from tests.bridge.lingma.service import SILENT

TINY = "data:image/png;base64,iVBORw0KGgo="
UPLOADED = "image/uploadResultNotification"
TAKEN = {"requestId": "u1", "errorCode": None, "errorMessage": None, "result": {"success": True}}


def uploaded(request_id="u1", url="https://images.example/1.png", code=None, message=None):
    result = {"requestId": request_id, "imageUrl": url}
    return {"method": UPLOADED, "params": {"errorCode": code, "errorMessage": message, "result": result}}


@pytest.fixture
def upload(connection):
    """An upload that is under way."""

    def upload(request_id="u1", within=5.0):
        return asyncio.create_task(connection.upload(request_id, TINY, within))

    return upload


@pytest.fixture(autouse=True)
def taken(service):
    service.answers["image/upload"] = TAKEN


async def test_image_url_comes_with_its_notification(service, peer, upload):
    uploading = upload()
    assert await service.got("image/upload") == {"requestId": "u1", "imageUri": TINY}
    await peer.send(uploaded("another", "https://images.example/0.png"), uploaded())
    assert await uploading == "https://images.example/1.png"


async def test_the_notification_may_come_before_the_answer(service, peer, upload):
    service.answers["image/upload"] = SILENT
    uploading = upload()
    await service.got("image/upload")
    await peer.send(uploaded())
    assert await uploading == "https://images.example/1.png"


async def test_notification_as_a_request_is_acknowledged(service, peer, upload):
    uploading = upload()
    await service.got("image/upload")
    await peer.send(uploaded() | {"id": 7})
    assert await uploading == "https://images.example/1.png"
    await service.until(lambda: service.acknowledged() == [7])


async def test_repeated_or_late_notification_is_ignored(service, peer, upload, connection):
    uploading = upload()
    await service.got("image/upload")
    await peer.send(uploaded(), uploaded(url="https://images.example/2.png"))
    assert await uploading == "https://images.example/1.png"
    await peer.send(uploaded(), uploaded("long-gone", code="TIMEOUT"))
    await connection.request(("ping", {}), 5)
    assert not connection.lost.done()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (TAKEN | {"errorCode": "FILE_TOO_LARGE", "errorMessage": "more than 10 MB"}, "FILE_TOO_LARGE more than 10 MB"),
        (TAKEN | {"errorCode": 500}, "500"),
        (TAKEN | {"errorMessage": "no"}, "no"),
        (TAKEN | {"result": {"success": False}}, "no reason given"),
    ],
)
async def test_refusing_answer_ends_the_upload(service, peer, upload, answer, why):
    service.answers["image/upload"] = answer
    with pytest.raises(UploadFailed, match=why):
        await upload()


async def test_error_answer_fails_the_upload(service, peer, upload):
    service.answers["image/upload"] = SILENT
    uploading = upload()
    await service.got("image/upload")
    id_ = next(message["id"] for message in service.received if message.get("method") == "image/upload")
    await peer.send({"id": id_, "error": {"code": -32601, "message": "unknown method: image/upload"}})
    with pytest.raises(UploadFailed, match="unknown method"):
        await uploading


@pytest.mark.parametrize(
    "notice",
    [
        uploaded(url=None, code="UPLOAD_FAILED", message="storage is full"),
        uploaded(url=None),
        {"method": UPLOADED, "params": {"requestId": "u1", "errorCode": "UPLOAD_FAILED", "result": None}},
    ],
    ids=["error", "no url", "no result"],
)
async def test_a_notification_without_a_url_fails_the_upload(service, peer, upload, notice):
    uploading = upload()
    await service.got("image/upload")
    await peer.send(json.loads(json.dumps(notice)))
    with pytest.raises(UploadFailed):
        await uploading


async def test_a_notification_of_an_unknown_shape_harms_nobody(service, peer, upload):
    uploading = upload()
    await service.got("image/upload")
    await peer.send({"method": UPLOADED, "params": {"result": "gone"}}, uploaded())
    assert await uploading == "https://images.example/1.png"


@pytest.mark.parametrize("answer", [TAKEN, SILENT], ids=["answered", "not answered"])
async def test_silent_service_is_not_waited_for(service, peer, upload, answer):
    service.answers["image/upload"] = answer
    with pytest.raises(UploadFailed, match=r"within 0\.05 s") as caught:
        await upload(within=0.05)
    assert isinstance(caught.value, UpstreamTimeout)


@pytest.mark.parametrize("answer", [TAKEN, SILENT], ids=["answered", "not answered"])
async def test_a_lost_connection_fails_every_upload(service, peer, upload, connection, answer):
    service.answers["image/upload"] = answer
    uploads = [upload(f"u{number}") for number in range(3)]
    await service.got("image/upload", 2)
    await service.drop()
    results = await asyncio.gather(*uploads, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLost] * 3


async def test_third_image_waits_for_one_of_two(service, peer, upload):
    uploads = [upload(f"u{number}") for number in range(3)]
    await service.got("image/upload", 2)
    assert service.methods().count("image/upload") == 2
    await peer.send(uploaded("u0", "https://images.example/0.png"))
    assert (await service.got("image/upload", 3))["requestId"] == "u2"
    await peer.send(uploaded("u1"), uploaded("u2"))
    assert (await asyncio.gather(*uploads))[0] == "https://images.example/0.png"


async def test_image_waits_for_others_within_bounds(service, peer, upload, monkeypatch):
    monkeypatch.setattr(module, "PLACE_SEC", 0.05)
    first = [upload(f"u{number}") for number in range(2)]
    await service.got("image/upload", 2)
    with pytest.raises(UploadTimedOut, match="busy with other images"):
        await upload("late")
    await peer.send(uploaded("u0"), uploaded("u1"))
    assert await asyncio.gather(*first) == ["https://images.example/1.png"] * 2


async def test_upload_given_up_frees_its_place(service, peer, upload):
    for number in range(3):
        given_up = upload(f"u{number}")
        await service.got("image/upload", number + 1)
        given_up.cancel()
        await asyncio.wait([given_up])
    last = upload("last")
    await service.got("image/upload", 4)
    await peer.send(uploaded("last"))
    assert await last == "https://images.example/1.png"

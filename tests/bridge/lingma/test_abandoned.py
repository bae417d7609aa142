"""What a service was at work on when the connection to it was lost."""

import asyncio

import pytest

from bridge.chat.errors import ConnectionLost, UpstreamTimeout
from bridge.lingma import abandoned as module
from bridge.lingma.abandoned import MOST, Abandoned
from bridge.lingma.errors import UploadTimedOut
from tests.bridge.lingma.conftest import received_pieces
from tests.bridge.lingma.service import answer, finish

PICTURE = "data:image/png;base64,AAAA"


@pytest.fixture
def abandoned(connection):
    abandoned = Abandoned()
    connection.leave_to(abandoned)
    return abandoned


@pytest.fixture
def stop(service, connection, peer):
    """A turn is given up; returned as soon as the service knows, and whatever it pushes then has been read."""

    async def stop(turn, *pushes):
        turn.close()
        connection.stop(turn)
        await service.got("chat/stop")
        reads = connection.reads
        await peer.push(*pushes)
        async with asyncio.timeout(30):
            while len(service.acknowledged()) < len(pushes) or connection.reads == reads:
                await peer.push(("chat/think", {"requestId": "nobody"}))
                await asyncio.sleep(0.01)

    return stop


async def lose(service, *turns):
    await service.drop()
    for turn in turns:
        await received_pieces(turn)
        assert isinstance(turn.end.error, ConnectionLost)


async def test_lone_question_is_the_only_one(service, peer, ask, abandoned):
    turn = ask()
    await service.got("chat/ask")
    assert abandoned.only() == ("", False)
    await lose(service, turn)
    assert abandoned.only() == ("r1", False)


async def test_lone_question_that_was_being_answered(service, peer, ask, abandoned):
    turn = ask()
    await peer.push(answer("some"))
    await turn.drain()
    await lose(service, turn)
    assert abandoned.only() == ("r1", True)


async def test_questions_at_once_are_company(service, peer, ask, abandoned):
    turns = ask("r1"), ask("r2")
    await service.got("chat/ask", 2)
    await lose(service, *turns)
    assert abandoned.only() == ("", False)


async def test_stopped_question_is_company(service, ask, stop, abandoned):
    await stop(ask("r2"))
    await lose(service, ask("r1"))
    assert abandoned.only() == ("", False)


async def test_stopped_question_is_the_only_one(service, ask, stop, connection, abandoned):
    await stop(ask("r1"))
    assert abandoned.only() == ("r1", False)
    other = ask("r2")
    assert abandoned.only() == ("", False)
    await lose(service, other)


async def test_stopped_question_that_ended_is_no_company(service, ask, stop, abandoned):
    await stop(ask("r2"), finish("r2", reason="cancelled"))
    await lose(service, ask("r1"))
    assert abandoned.only() == ("r1", False)


async def test_stopped_question_is_no_company_for_ever(service, ask, stop, abandoned, monkeypatch):
    await stop(ask("r2"))
    monkeypatch.setattr(module, "AT_WORK_SEC", 0.0)
    await lose(service, ask("r1"))
    assert abandoned.only() == ("r1", False)


async def test_reply_to_a_stopped_question_is_noted(ask, stop, abandoned):
    await stop(ask("r1"), answer("late", "r1"))
    assert abandoned.only() == ("r1", True)


async def test_timed_out_question_is_company(service, ask, abandoned, peer):
    ask("r2").fail(UpstreamTimeout("silent"))
    await lose(service, ask("r1"))
    assert abandoned.only() == ("", False)


@pytest.mark.parametrize(
    "push",
    [finish("r2", code=500), ("chat/error", {"requestId": "r2", "message": "broken"})],
    ids=["finish", "error"],
)
async def test_question_that_failed_is_no_company(service, peer, ask, abandoned, push):
    failed = ask("r2")
    await peer.push(push)
    await received_pieces(failed)
    await lose(service, ask("r1"))
    assert abandoned.only() == ("r1", False)


async def test_refused_question_is_no_company(service, ask, abandoned):
    service.answers["chat/ask"] = {"error": {"code": 1, "message": "no"}}
    await received_pieces(ask("r2", kind="request"))
    await lose(service, ask("r1"))
    assert abandoned.only() == ("r1", False)


async def test_image_under_way_is_company(service, connection, ask, abandoned):
    uploading = asyncio.create_task(connection.upload("u1", PICTURE, 5))
    await service.got("image/upload")
    await lose(service, ask("r1"))
    assert abandoned.only() == ("", False)
    with pytest.raises(ConnectionLost):
        await uploading


async def test_image_given_up_is_company(service, connection, ask, abandoned):
    with pytest.raises(UploadTimedOut):
        await connection.upload("u1", PICTURE, 0.05)
    await lose(service, ask("r1"))
    assert abandoned.only() == ("", False)


async def test_image_that_was_never_sent_is_no_company(service, connection, peer, ask, abandoned):
    sent = [asyncio.create_task(connection.upload(f"u{number}", PICTURE, 5)) for number in range(2)]
    await service.got("image/upload", 2)
    waiting = asyncio.create_task(connection.upload("waits", PICTURE, 5))
    await asyncio.sleep(0)
    waiting.cancel()
    for number in range(2):
        await peer.send(uploaded(f"u{number}"))
    await asyncio.gather(waiting, *sent, return_exceptions=True)
    await lose(service, ask("r1"))
    assert abandoned.only() == ("r1", False)


def uploaded(id_):
    result = {"requestId": id_, "imageUrl": "https://images.example/1.png"}
    return {"method": "image/uploadResultNotification", "params": {"errorCode": None, "result": result}}


def test_memory_of_abandoned_questions_is_bounded(monkeypatch):
    abandoned = Abandoned()
    for number in range(2 * MOST):
        abandoned.add(str(number))
    for number in range(2 * MOST - 1):
        abandoned.ended(str(number))
    assert abandoned.only() == ("", False)  # whether those ended that it has forgotten, it does not know
    monkeypatch.setattr(module, "AT_WORK_SEC", -1.0)
    assert abandoned.only() == (str(2 * MOST - 1), False)

"""One instance over a scripted service: ready, logged out, gone, back."""

import asyncio
import gc
import json

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.lingma.dialects.base import Ask
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances import lifecycle
from bridge.pool.instances.orders import Order
from bridge.pool.options import InstanceOptions, InstanceSpec
from bridge.status.wanted import Mode
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import DIALECT, SILENT, Service, answer, finish
from tests.bridge.pools import attached, in_state, running, until


@pytest.fixture
async def service():
    async with Service() as service:
        yield service


async def test_instance_is_ready_after_the_protocol_steps(service):
    service.answers["initialize"] = {"serverInfo": {"name": "lingma", "version": "2.11.1"}}
    async with running(attached(service)) as pool:
        status = pool.statuses()[0]
    assert service.methods() == ["initialize", "auth/status", "config/queryModels"]
    assert (status.name, status.state, status.login, status.version, status.models) == (
        "w1-i1",
        "ready",
        True,
        "2.11.1",
        2,
    )
    assert (status.process, status.pid, status.restarts, status.upstream) == (1, 0, 0, "attached")


async def test_dedicated_domain_goes_to_attached_service(service):
    options = InstanceOptions(dedicated_domain="https://lingma.example.com")
    async with running(attached(service), instances=options):
        assert await service.got("config/updateEndpoint") == {"endpoint": "https://lingma.example.com"}


async def test_a_login_is_noticed_by_a_push(service):
    service.answers["auth/status"] = {"status": 1}
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "login_required")
        assert (pool.statuses()[0].login, pool.statuses()[0].last_error) == (False, "not logged in to Lingma")
        assert "config/queryModels" not in service.methods()
        service.answers["auth/status"] = {"status": 2}
        await (await service.peers.get()).push(("auth/report", {"status": 2, "token": "pt-secret"}))
        await in_state(pool, "ready")
        assert pool.statuses()[0].last_error == ""


@pytest.mark.parametrize(
    ("told", "state", "waits"),
    [
        ({"status": 3}, "login_required", False),
        ({"status": 5}, "degraded", True),
        ({"status": 6}, "failed", False),
        ({"status": 2, "whitelist": 5}, "failed", False),
    ],
)
async def test_passing_trouble_alone_is_waited_for(service, told, state, waits):
    service.answers["auth/status"] = told | {"expireTime": 1782107060847}
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, state)
        status = pool.statuses()[0]
        assert (status.login, status.login_expires_at) == (False, 1782107060.847)
        assert status.last_error == status.account.label
        assert pool.instances[0].back_within(1) is waits
        assert pool.statuses()[0].restarts == 0


async def test_trouble_that_lasts_is_not_waited_for(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "PATIENCE_SEC", 0)
    service.answers["auth/status"] = {"status": 4}
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "degraded")
        assert not pool.instances[0].back_within(1)


async def test_a_login_is_noticed_without_a_push(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "LOGIN_POLL_SEC", 0.01)
    service.answers["auth/status"] = {"status": 1}
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "login_required")
        service.answers["auth/status"] = {"status": 2}
        await in_state(pool, "ready")
        assert pool.statuses()[0].models == 2


async def test_logout_is_noticed_and_running_turn_continues(service):
    async with running(attached(service)) as pool:
        peer = await service.peers.get()
        turn = pool.instances[0].ask(Ask("r1", "s1", "Hello", "org_auto"))
        service.answers["auth/status"] = {"status": 1}
        await peer.push(answer("still "), ("auth/report", {}))
        await in_state(pool, "login_required")
        await peer.push(answer("here"), finish())
        assert "".join(await ended(turn)) == "still here"


async def test_question_that_cannot_be_written_stays_nowhere(service):
    async with running(attached(service)) as pool:
        with pytest.raises(UnicodeEncodeError):
            pool.instances[0].ask(Ask("unwritten", "s1", "half \ud83d", "org_auto"))
        turns = [each for each in gc.get_objects() if type(each) is ReplyStream]
        assert all(turn.end is not None for turn in turns if turn.request_id == "unwritten")


async def test_finish_401_makes_the_instance_look(service):
    async with running(attached(service)) as pool:
        peer = await service.peers.get()
        turn = pool.instances[0].ask(Ask("r1", "s1", "Hello", "org_auto"))
        service.answers["auth/status"] = {"status": 1}
        await peer.push(finish(code=401))
        await in_state(pool, "login_required")
        assert (await ended(turn), turn.end.error.status) == ([], 503)


async def test_changed_models_are_read_again(service):
    async with running(attached(service)) as pool:
        service.answers["config/queryModels"] = {"chat": [{"key": "new", "displayName": "New"}]}
        await (await service.peers.get()).push(("config/refreshModels", {}))
        await service.got("config/queryModels", times=2)
        async with asyncio.timeout(30):
            while not pool.instances[0].model_key("new"):
                await asyncio.sleep(0)
        assert pool.instances[0].model_key("coder") is None


async def test_models_are_reread_at_the_configured_interval(service):
    async with running(attached(service), instances=InstanceOptions(models_refresh=0.05)) as pool:
        service.answers["config/queryModels"] = {"chat": [{"key": "new", "displayName": "New"}]}
        await service.got("config/queryModels", times=3)
        async with asyncio.timeout(30):
            while pool.model_names() != {"new": "new"}:
                await asyncio.sleep(0)
        assert pool.statuses()[0].model_names == {"new": "new"}


async def test_account_is_checked_without_rereading_models(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "HEALTH_SEC", 0.02)
    async with running(attached(service)):
        await service.got("auth/status", times=4)
        assert service.methods().count("config/queryModels") == 1


async def test_unknown_pushes_alone_are_counted(service):
    async with running(attached(service)) as pool:
        peer = await service.peers.get()
        await peer.push(("brand/new", {}), ("extension/register", {}), ("chat/answer", {}), ("brand/newer", {}))
        await service.until(lambda: len(service.acknowledged()) == 4)
        assert pool.instances[0].incidents.unknown_pushes == 2


async def test_tool_events_of_no_turn_are_counted(service):
    async with running(attached(service)) as pool:
        peer = await service.peers.get()
        await peer.push(("tool/call/sync", {"requestId": "gone", "toolCallId": "c1", "toolCallStatus": "PENDING"}))
        await service.until(service.acknowledged)
        await peer.push(("extension/register", {}))
        await service.until(lambda: len(service.acknowledged()) == 2)
        assert (pool.instances[0].incidents.unrouted_tool_events, pool.instances[0].incidents.unknown_pushes) == (1, 0)


async def test_lost_connection_is_remade_as_another_generation(service):
    async with running(attached(service)) as pool:
        before = pool.statuses()[0]
        await service.drop()
        await in_state(pool, "starting")
        assert "connection lost" in pool.statuses()[0].last_error
        await in_state(pool, "ready")
        after = pool.statuses()[0]
        assert after.generation > before.generation  # nothing proves that it knows its sessions still
        assert (before.restarts, after.restarts) == (0, 0)


async def test_silent_service_is_left_and_tried_again(service):
    service.answers["initialize"] = SILENT
    async with running(attached(service), instances=InstanceOptions(start_timeout=0.1), ready=False) as pool:
        await in_state(pool, "backoff")
        assert pool.statuses()[0].last_error == "the service did not answer in time"
        service.answers["initialize"] = {}
        await in_state(pool, "ready")


@pytest.mark.parametrize(
    "answers",
    [
        {"auth/status": None},
        {"auth/status": [2]},
        {"auth/status": {"error": {"code": -32603, "message": "broken"}}},
        {"initialize": {"error": {"code": -32603, "message": "broken"}}},
    ],
)
async def test_senseless_answer_leads_to_a_new_start(service, answers):
    right = {method: service.answers[method] for method in answers}
    service.answers |= answers
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "backoff")
        assert pool.statuses()[0].last_error
        service.answers |= right
        await in_state(pool, "ready")


async def test_account_that_can_be_read_again_is_logged(service, caplog):
    caplog.set_level("INFO", "bridge.pool")
    async with running(attached(service)) as pool:
        peer = await service.peers.get()
        right = service.answers["auth/status"]
        service.answers["auth/status"] = {"error": {"code": -32603, "message": "broken"}}
        await peer.push(("auth/report", {}))
        async with asyncio.timeout(30):
            while "its account cannot be read" not in caplog.text:
                await asyncio.sleep(0.01)
            caplog.clear()
            service.answers["auth/status"] = right
            await peer.push(("auth/report", {}))
            while "is ready after" not in caplog.text:
                await asyncio.sleep(0.01)
        pool.upkeep.obey({"w1-i1": Order(Mode.DRAIN)})
        # Of an outage that was over long ago nothing is told.
        assert [each for each in caplog.messages if " after " in each] == [caplog.messages[0]]


async def test_attached_work_dir_is_followed_to_new_port(tmp_path):
    info, source = tmp_path / ".info.json", InstanceSpec("attached", DIALECT, attach=str(tmp_path / ".info.json"))
    async with Service() as first, Service() as second:
        info.write_text(json.dumps({"websocketPort": first.port, "pid": 1}))
        async with running([source]) as pool:
            info.write_text(json.dumps({"websocketPort": second.port, "pid": 2}))
            await first.drop()
            await until(pool, lambda: pool.ready and second.methods())
            assert second.methods()[:2] == ["initialize", "auth/status"]


async def test_missing_attached_service_is_reported(tmp_path):
    async with running([InstanceSpec("attached", DIALECT, attach=str(tmp_path))], ready=False) as pool:
        await in_state(pool, "backoff")
        assert ".info.json" in pool.statuses()[0].last_error


async def test_turn_given_up_is_stopped_in_the_service(service):
    async with running(attached(service)) as pool:
        turn = pool.instances[0].ask(Ask("r1", "s1", "Hello", "org_auto"))
        pool.instances[0].give_up(turn)
        assert turn.end.error is not None
        assert await service.got("chat/stop") == {"requestId": "r1", "sessionId": "s1"}


async def test_image_is_handed_over_under_own_id(service):
    service.answers["image/upload"] = {"errorCode": None, "result": {"success": True}}
    async with running(attached(service)) as pool:
        uploading = asyncio.create_task(pool.instances[0].upload_image("data:image/png;base64,AA=="))
        request_id = (await service.got("image/upload"))["requestId"]
        result = {"requestId": request_id, "imageUrl": "https://images.example/1.png"}
        await (await service.peers.get()).push(("image/uploadResultNotification", {"result": result}))
        assert await uploading == "https://images.example/1.png"
    assert len(request_id) == 32


async def test_an_instance_without_a_connection_takes_no_image(service):
    async with running(attached(service)) as pool:
        instance = pool.instances[0]
    with pytest.raises(ConnectionLost):
        await instance.upload_image("data:image/png;base64,AA==")


async def test_self_healing_instance_is_worth_waiting_for(service):
    async with running(attached(service)) as pool:
        instance = pool.instances[0]
        assert instance.back_within(0)
        service.answers["auth/status"] = {"status": 1}
        await (await service.peers.get()).push(("auth/report", {}))
        await in_state(pool, "login_required")
        assert not instance.back_within(60)
    assert not instance.back_within(60)


async def test_postponed_instance_is_back_after_its_pause(tmp_path):
    async with running([InstanceSpec("attached", DIALECT, attach=str(tmp_path))], ready=False) as pool:
        await in_state(pool, "backoff")
        assert (pool.instances[0].back_within(0), pool.instances[0].back_within(5)) == (False, True)


BROKEN = {"error": {"code": -32603, "message": "broken"}}


async def test_one_odd_look_at_the_account_ends_nothing(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "LOGIN_POLL_SEC", 0.01)
    async with running(attached(service)) as pool:
        peer, turn = await service.peers.get(), pool.instances[0].ask(Ask("r1", "s1", "Hello", "org_auto"))
        right = service.answers["auth/status"]
        service.answers["auth/status"] = BROKEN
        await peer.push(("auth/report", {}))
        await service.got("auth/status", times=2)
        service.answers["auth/status"] = right
        await service.got("config/queryModels", times=2)
        await peer.push(answer("still here"), finish())
        assert "".join(await ended(turn)) == "still here"
        assert (pool.instances[0].incidents.reconnects, pool.instances[0].incidents.restarts) == (0, 0)


async def test_unreadable_account_ends_the_run(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "LOGIN_POLL_SEC", 0.01)
    async with running(attached(service)) as pool:
        service.answers["auth/status"] = BROKEN
        await (await service.peers.get()).push(("auth/report", {}))
        await until(pool, lambda: pool.statuses()[0].restarts > 0)
        assert pool.statuses()[0].last_error == "broken"


async def test_service_answering_no_requests_is_given_up(service, monkeypatch):
    monkeypatch.setattr(lifecycle, "HEALTH_SEC", 0.01)
    async with running(attached(service), instances=InstanceOptions(rpc_timeout=0.1)) as pool:
        service.answers["auth/status"] = SILENT
        await until(pool, lambda: pool.statuses()[0].restarts > 0)
        assert pool.statuses()[0].last_error == "the service did not answer in time"

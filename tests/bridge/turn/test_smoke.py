"""The operator's test of the whole way."""

from contextlib import AsyncExitStack
from itertools import count

from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.pool.options import InstanceSpec
from bridge.pool.upkeep.smoke import QUESTION
from bridge.turn.engine import Engine, EngineOptions
from bridge.turn.smoke import smoke
from tests.bridge.lingma.service import DIALECT, Service, answer, finish
from tests.bridge.pools import attached, in_state, running


async def pong(peer, params):
    await peer.push(answer("pong", params["requestId"]), finish(params["requestId"]))


async def fail(peer, params):
    await peer.push(finish(params["requestId"], code=429))


async def cut(peer, _params):
    peer.socket.transport.abort()


def engine_of(pool):
    ids = count()
    return Engine(pool, None, ImagePipeline(ImageOptions()), EngineOptions(), lambda: f"id-{next(ids)}")


async def test_every_instance_is_asked_and_reports():
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(Service(on_ask=each)) for each in (pong, fail, cut)]
        pool = await stack.enter_async_context(running(attached(*services)))
        results = await smoke(engine_of(pool))
        assert [(result.instance, result.ok) for result in results] == [
            ("w1-i1", True),
            ("w1-i2", False),
            ("w1-i3", False),
        ]
        assert results[0].error is None
        assert results[0].total_ms >= results[0].first_token_ms >= 0
        assert ["rate limited" in results[1].error, "lost" in results[2].error] == [True, True]
        assert services[0].asks()[0]["questionText"] == QUESTION


async def test_default_model_may_be_a_display_name():
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(Service(on_ask=pong))
        engine = engine_of(await stack.enter_async_context(running(attached(service))))
        engine.options = EngineOptions("Auto")
        assert [result.ok for result in await smoke(engine)] == [True]
        assert service.asks()[0]["extra"]["modelConfig"] == {"key": "org_auto"}


async def test_unconnected_instance_is_reported(tmp_path):
    async with running([InstanceSpec("attached", DIALECT, attach=str(tmp_path))], ready=False) as pool:
        await in_state(pool, "backoff")
        [result] = await smoke(engine_of(pool))
        assert (result.ok, result.error) == (False, "The instance is not connected.")

"""Runtimes over scripted services."""

import pytest

from accounts.keys.keyring import KeyRing
from bridge.runtime import process
from bridge.runtime.runtime import Runtime
from gateway_project.env import Environment
from tests.bridge.http.serving import PEPPER, load_key
from tests.bridge.pools import in_state


@pytest.fixture
async def new_runtime(redis_server, tmp_path, monkeypatch):
    """`new_runtime(service, dialect)`: the runtime of this process, with its instance ready and one key."""
    runtimes = []

    async def new_runtime(service, dialect=None, **settings):
        env = Environment(redis_url=redis_server, **{"lingma_attach_urls": service.url, **settings})
        runtime = Runtime(env, tmp_path, PEPPER, dialect)
        runtimes.append(runtime)
        runtime.keys = KeyRing(PEPPER, runtime.link, load_key)
        runtime.pool.start()
        await in_state(runtime.pool, *["ready"] * len(runtime.pool.instances))
        monkeypatch.setattr(process, "_runtime", runtime)
        return runtime

    yield new_runtime
    for each in runtimes:
        await each.pool.stop()
        await each.engine.wait_for_background()
        await each.link.close()
        await each.bulk.close()

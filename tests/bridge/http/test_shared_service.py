"""Services to which several instances are attached: nobody knows over which question one of them exits."""

import pytest

from bridge.lingma.dialects.base import Ask
from bridge.pool.instances.runs import Exit
from tests.bridge.lingma.conftest import received_pieces
from tests.bridge.lingma.service import Service


@pytest.mark.parametrize(
    ("processes", "times", "only"), [(1, 1, "r1"), (2, 1, ""), (1, 2, "")], ids=["own", "processes", "twice"]
)
async def test_exit_of_a_shared_service_accuses_nobody(new_runtime, processes, times, only):
    async with Service() as service:
        urls = ",".join([service.url] * times)
        runtime = await new_runtime(service, web_processes=processes, lingma_attach_urls=urls)
        instance = runtime.pool.instances[0]
        turn = instance.ask(Ask("r1", "", "hello", "org_auto"))
        await service.got("chat/ask")
        service._server.close()
        await received_pieces(turn)
        assert await instance.exit_of(instance.generation) == Exit(only, shared=not only)

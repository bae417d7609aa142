"""One real short chat through each instance, as an operator's test of the whole way."""

from __future__ import annotations

import asyncio

from bridge.pool.upkeep.smoke import SmokeResult, smoke_chat
from bridge.turn.engine import Engine


async def smoke(engine: Engine) -> list[SmokeResult]:
    """Ask every instance of the process at once. Never raises for an instance that fails."""
    # Past the pool on purpose: an operator wants to know of each instance, busy or not.
    model, new_id, instances = engine.options.default_model, engine.new_id, engine.pool.instances
    chats = [smoke_chat(each, each.model_key(model) or model, new_id) for each in instances]
    return [each.result for each in await asyncio.gather(*chats)]

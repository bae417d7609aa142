"""The approval firewall before a service that asks to run tools, in every way it may ask: what the service has seen."""

import json
from itertools import count

import pytest

from bridge.chat.events import LingmaToolCall
from bridge.lingma.dialects.base import Ask
from bridge.pool.options import InstanceOptions
from gateway_project.lib.tool_approval import Approval
from tests.bridge.lingma.conftest import received_pieces
from tests.bridge.pools import running, simulator

WAYS = [
    "", "tool_async=false", "tool_approval=false", "tool_approval=false tool_async=false", "tool_start=running",
    "tool_start=finished", "tool_words=phases", "tool_words=phases tool_lower", "tool_lower", "tool_card=false",
    "tool_twice", "tool_done", "tool_done tool_async=false", "tool_done tool_approval=false", "tool_echo",
    "tool_shape=named", "tool_shape=nested", "tool_shape=snake", "tool_shape=data", "tool_shape=items",
    "tool_shape=items tool_words=phases", "tool_ids=first", "tool_shape=data tool_ids=first tool_twice", "ids=none",
    "ids=string", "duplicate", "merge=4", "split=1", "fault=F27", "tool_card=false tool_shape=named ids=none",
]  # fmt: skip
TOOLS = "tools=run_in_terminal,list_dir"


class Service:
    """One instance over a simulator process, and the record of what that has received."""

    def __init__(self, pool, work_dir):
        self.instance = pool.instances[0]
        self._record = work_dir / "received.jsonl"
        self._numbers = count(1)

    async def turn(self, way):
        """Run a turn of the agent: the turn and its pieces."""
        number = next(self._numbers)
        prompt = f"[[sim: text=done first_ms=0 delay_ms=0 {way}]]"
        turn = self.instance.ask(Ask(f"r{number}", f"s{number}", prompt, "org_auto", mode="agent"))
        return turn, await received_pieces(turn)

    async def received(self):
        """What it was told of tools: params of messages and answers to `tool/invoke`."""
        await self.turn("")  # over the same connection, so what was said before has been read after it
        sent = []
        for line in map(json.loads, self._record.read_text().splitlines()):
            if line["direction"] == "in" and line.get("method", "").startswith("tool/"):
                sent.append(line["params"])
            elif line["direction"] == "in" and "method" not in line and isinstance(line.get("result"), dict):
                sent.append(line["result"])
        return sent


@pytest.fixture
async def served(tmp_path, request):
    options = InstanceOptions(approval=Approval.read(getattr(request, "param", "deny")))
    async with running([simulator(tmp_path, "--login=auto", "--record")], instances=options) as pool:
        yield Service(pool, tmp_path)


def calls(pieces):
    """The last that was known of each call."""
    return list({piece.id: piece for piece in pieces if isinstance(piece, LingmaToolCall)}.values())


async def test_tools_are_neither_approved_nor_reported_done(served):
    for way in WAYS:
        turn, pieces = await served.turn(f"{TOOLS} tool_timeout_ms=200 {way}")
        assert (turn.end.error, turn.text[-4:], len(calls(pieces)) >= 2) == (None, "done", True), way
        assert not any(decision.allowed for decision in turn.decisions), way
    sent = await served.received()
    assert {params["approval"] for params in sent if "approval" in params} == {False}
    assert {params["success"] for params in sent if "success" in params} == {False}
    assert served.instance.incidents.unrouted_tool_events == 0


async def test_call_is_known_however_it_is_spelled(served):
    for way in [way for way in WAYS if "card=false" not in way and "fault" not in way]:
        _, pieces = await served.turn(f'tools=list_dir tool_args="{{\\"path\\":1}}" tool_approval=false {way}')
        assert [(call.name, call.input) for call in calls(pieces)] == [("list_dir", b'{"path":1}')], way


@pytest.mark.parametrize("served", ["allow", "allow:run_in_terminal,list_dir"], indirect=True)
async def test_allowed_tools_run_in_service_with_own_results(served):
    _, pieces = await served.turn(f"{TOOLS} tool_shape=named")
    command, listing = calls(pieces)
    assert (command.name, command.state, command.result) == ("run_in_terminal", "failed", b"")
    assert (listing.name, listing.state, listing.result) == ("list_dir", "finished", b'[{"content":"simulated"}]')
    sent = await served.received()
    assert [params["approval"] for params in sent if "approval" in params] == [True, True]
    ran, listed = [params for params in sent if "success" in params]
    assert (ran["name"], ran["success"], ran["result"]) == ("run_in_terminal", False, {})
    assert (listed["name"], listed["success"], listed["result"]) == ("list_dir", True, {"content": "simulated"})

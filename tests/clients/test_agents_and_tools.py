"""Coding agents whose tools are called in another way than they expect, and aider, which has none."""

import pytest

from tests.clients.agents import ClaudeCode, Codex, ConfinedClaudeCode, base, call, in_a_terminal, set_up
from tests.clients.task import ANSWER, MODEL, PROMPT, plan_for, watched
from tests.e2e.installation import django

CONFINED = f"""
from accounts.keys import services
from accounts.models import ApiKey
key = ApiKey(name="of one model", allowed_models={MODEL!r})
print(services.create(key), key.pk)
"""


@pytest.mark.parametrize("reuse", [True], indirect=True)
def test_confined_key_serves_all_claude_code_asks(node_clients, gateway, folder, reuse):
    secret, key_id = django(gateway.data_dir, CONFINED).split()
    agent = ConfinedClaudeCode(secret)
    with watched(gateway, plan_for(agent, folder.work), turns=4):
        told = agent.run(node_clients, gateway, folder)
    assert folder.is_done(), told
    rows = [row for row in gateway.rows().values() if row["api_key_id"] == int(key_id)]
    assert len(rows) >= 4
    assert {(row["status"], row["model"]) for row in rows} == {("ok", MODEL)}


def test_codex_calls_tools_of_a_namespace(node_clients, gateway, folder):
    plan = [call("multi_agent_v1__close_agent", target="nobody"), ANSWER]
    with watched(gateway, plan) as seen:
        told = Codex().run(node_clients, gateway, folder)
    assert len(seen) == 2
    assert "the last result proves: " in told
    assert "unsupported call" not in told


def test_claude_code_loads_tools_later(node_clients, gateway, folder, reuse):
    search = call("ToolSearch", query="select:WebFetch", max_results=3)
    fetch = call("WebFetch", url=f"{base(gateway)}/healthz", prompt="status")
    with watched(gateway, [search, fetch, ANSWER]) as seen:
        told = ClaudeCode().run(node_clients, gateway, folder)
    assert "the last result proves: " in told
    assert [each.is_reply for each in seen] == [False, reuse, reuse]


SLIPS = {
    "tolerated": ("fence", "comma", "quotes"),  # a fence counts only before the first call between marks
    "tolerated too": ("string", "alias", "prose"),
    "refused by the agent's tools": ("missing", "type", ""),
}


@pytest.mark.parametrize("slips", SLIPS.values(), ids=SLIPS)
def test_agent_survives_malformed_calls(slips, node_clients, gateway, folder):
    agent = ClaudeCode()
    *calls, answer = plan_for(agent, folder.work)
    plan = [{**step, "flaw": slip} for step, slip in zip(calls, slips, strict=True)]
    with watched(gateway, [*plan, answer]):
        told = agent.run(node_clients, gateway, folder)
    assert folder.is_done(), told
    assert "copied goodbye" in told


BLOCK = "a.txt\n```\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n"


def test_aider_edits_and_mends_until_its_test_passes(aider, gateway, folder):
    plan = [{"say": BLOCK.format(old="hello", new="good")}, {"say": BLOCK.format(old="good", new="goodbye")}]
    environ, [_, *settings] = in_a_terminal(set_up("aider", gateway))
    command = [aider, *settings, "--edit-format", "diff", "--yes-always", "--no-git", "--no-pretty",
               "--no-check-update", "--no-show-model-warnings", "--analytics-disable", "--auto-test", "--test-cmd",
               "grep -x goodbye a.txt && cp a.txt b.txt", "--message", PROMPT, "a.txt"]  # fmt: skip
    with watched(gateway, plan, turns=2) as seen:
        told = folder.run(command, **environ)
    assert folder.is_done(), told
    assert len(seen.sessions) == 2

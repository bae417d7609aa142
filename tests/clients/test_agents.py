"""Coding agents as their users have them: each reads a file, edits it, runs a command and tells what it did."""

import pytest

from tests.clients.agents import ClaudeCode, Codex, OlderClaudeCode, OpenCode, OpenCodeAnthropic, OpenCodeResponses
from tests.clients.task import plan_for, watched

AGENTS = [ClaudeCode(), OlderClaudeCode(), Codex(), OpenCode()]
VARIANTS = [OpenCodeResponses(), OpenCodeAnthropic()]
CASES = [(agent, reuse) for reuse in (True, False) for agent in AGENTS] + [(agent, True) for agent in VARIANTS]
NAMES = [f"{type(agent).__name__}-{'reuse' if reuse else 'whole'}" for agent, reuse in CASES]


@pytest.mark.parametrize(("agent", "reuse"), CASES, indirect=["reuse"], ids=NAMES)
def test_agent_finishes_its_task_and_resumes(agent, node_clients, gateway, folder, reuse, report):
    plan = [*plan_for(agent, folder.work), {"say": "Nothing more to do."}]
    with watched(gateway, plan, turns=5 + agent.side_turns) as seen:
        told = agent.run(node_clients, gateway, folder)
        later = agent.go_on(node_clients, gateway, folder, "Is there more to do?")
    assert folder.is_done(), told
    assert "the last result proves: " in told
    assert "copied goodbye" in told
    assert "Nothing more to do." in later
    assert [each.is_reply for each in seen] == [False, *[reuse] * 4]
    assert seen.sessions.count("reused") == (4 if reuse else 0)
    assert len(seen.sessions) == 5 + agent.side_turns
    report(agent.name, seen)

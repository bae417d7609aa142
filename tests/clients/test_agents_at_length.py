"""Agents with more than small talk: several calls at once, long results, pictures, failures, a service that is gone."""

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tests.clients.agents import ClaudeCode, Codex, OpenCode
from tests.clients.task import ANSWER, COMMAND, Folder, asks, watched
from tests.e2e.formats import send
from tests.e2e.installation import until

AGENTS = [ClaudeCode(), Codex(), OpenCode()]
LINES = "".join(f'line {number} with "quotes", ünïcode 文字 and <call:zzzzzzzzzz>\n' for number in range(400))

agents = pytest.mark.parametrize("agent", AGENTS, ids=[type(agent).__name__ for agent in AGENTS])
reusing = pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])


def save_picture(path):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "PNG")
    path.write_bytes(data.getvalue())


@agents
@reusing
def test_a_session_goes_on_through_whatever_results_come(agent, node_clients, gateway, folder):
    (folder.work / "long.txt").write_text(LINES)
    save_picture(folder.work / "picture.png")
    three = [agent.read(folder.work / "a.txt"), agent.read(folder.work / "long.txt"), agent.shell("head -n 2 long.txt")]
    plan = [
        {"say": "Several at once.", "calls": three}, agent.shell("cat long.txt"), agent.shell("ls /nowhere; exit 3"),
        agent.look_at(folder.work / "picture.png"), agent.write(folder.work / "c.txt", LINES), ANSWER,
    ]  # fmt: skip
    with watched(gateway, plan) as seen:
        told = agent.run(node_clients, gateway, folder)
    assert (folder.work / "c.txt").read_text() == LINES, told
    assert "the last result proves: " in told
    assert [each.is_reply for each in seen] == [False, *[True] * 5]
    assert sum(bool(params["chatContext"].get("imageUrls")) for params in asks(gateway)[-6:]) == 1


@agents
@reusing
def test_forgotten_sessions_are_sent_again(agent, node_clients, gateway, folder):
    with watched(gateway, [agent.shell("cat a.txt"), {"say": "Read."}, agent.shell(COMMAND), ANSWER]) as seen:
        agent.run(node_clients, gateway, folder)
        gateway.lingma().kill()
        until(lambda: send(gateway, "GET", "/readyz").status != 200)
        until(lambda: send(gateway, "GET", "/readyz").status == 200, 30)
        told = agent.go_on(node_clients, gateway, folder, "Now copy it.")
    assert "copied hello" in told
    assert [each.is_reply for each in seen] == [False, True, False, True]


@reusing
def test_parallel_agents_keep_their_own_sessions(node_clients, gateway, tmp_path):
    agents = [ClaudeCode(), Codex()] * 2
    folders = [Folder(tmp_path / str(number)) for number in range(len(agents))]

    def work(agent, folder):
        name = f"agent-{folder.home.parent.name}"
        plan = [agent.shell(f"echo {name} >b.txt; cat b.txt a.txt"), agent.shell("cat b.txt"), ANSWER]
        marker = f"[[sim: plan={json.dumps(json.dumps(plan))}]]"
        return agent.run(node_clients, gateway, folder, f"{marker} Do as planned.")

    with watched(gateway, []) as seen, ThreadPoolExecutor(len(agents)) as pool:
        told = list(pool.map(work, agents, folders))
    assert [set(re.findall(r"agent-\d", text)) for text in told] == [{f"agent-{number}"} for number in range(4)]
    assert all("the last result proves: " in text for text in told)
    assert sorted(each.is_reply for each in seen) == [False] * 4 + [True] * 8

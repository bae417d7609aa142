"""The official SDKs for Node, old and new, streamed, with tools that really run."""

import json
from pathlib import Path

import pytest

from accounts.keys.snippets import setups
from tests.clients.task import ANSWER, COMMAND, MODEL, PROMPT, watched
from tests.e2e.installation import KEY

SCRIPTS = Path(__file__).parent / "node"
PLAN = [
    {"think": "I must look first.", "say": "I look.", "call": "read_file", "arguments": {"path": "a.txt"}},
    {"call": "write_file", "arguments": {"path": "a.txt", "content": "goodbye\n"}},
    {"say": "Copying.", "call": "run", "arguments": {"command": COMMAND}},
    ANSWER,
]
RUNS = [
    ("chat", "openai"), ("chat", "openai-6"), ("responses", "openai"), ("responses", "openai-6"),
    ("messages", "@anthropic-ai/sdk"), ("messages", "anthropic-sdk-0"), ("runner", "@anthropic-ai/sdk"),
]  # fmt: skip
THINKING = {"responses", "messages"}  # those that ask for it


@pytest.mark.parametrize(("script", "package"), RUNS)
def test_an_sdk_runs_its_tools_to_the_end(script, package, node_clients, gateway, folder, reuse, report):
    command = ["node", SCRIPTS / f"{script}.cjs", node_clients, package, f"http://127.0.0.1:{gateway.port}", KEY]
    with watched(gateway, PLAN) as seen:
        told = json.loads(folder.run([*command, MODEL, PROMPT]).splitlines()[-1])
    assert folder.is_done(), told
    assert told["text"].strip() == "Done, as the last result proves: copied goodbye"
    assert told["rounds"] == 4
    assert min(told["texts"], told["fragments"]) >= 3  # more when nothing is slow enough to be merged
    assert (told["thinking"] > 0) is (script in THINKING)
    assert [each.is_reply for each in seen] == [False, reuse, reuse, reuse]
    report(f"{package}, {script}", seen)


@pytest.mark.parametrize("name", ["OpenAI Node SDK", "Anthropic Node SDK"])
def test_shown_node_works_as_it_stands(name, node_clients, gateway, folder, tmp_path):
    texts = {each.client: each.text for each in setups(f"http://127.0.0.1:{gateway.port}", KEY, MODEL)}
    (tmp_path / "node_modules").symlink_to(node_clients)
    (tmp_path / "hello.mjs").write_text(texts[name])
    gateway.control(text="Hello from Lingma")
    try:
        assert folder.run(["node", tmp_path / "hello.mjs"]).strip() == "Hello from Lingma"
    finally:
        gateway.control()

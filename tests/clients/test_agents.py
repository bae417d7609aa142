"""Coding agents as their users have them: each reads a file, edits it, runs a command and tells what it did."""

import shlex

import pytest

from accounts.setups import setups
from tests.clients.task import ANSWER, COMMAND, MODEL, PROMPT, watched
from tests.e2e.installation import KEY

THINK = "I must look first."
PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-hello\n+goodbye\n*** End Patch"


def base(gateway):
    return f"http://127.0.0.1:{gateway.port}"


def set_up(client, gateway):
    """What the console tells the users of this client to paste."""
    return next(setup.text for setup in setups(base(gateway), KEY, MODEL) if setup.client == client)


def in_a_terminal(client, gateway):
    """(environment, words of the command) of a set-up that is pasted into a shell."""
    *exports, command = [shlex.split(line) for line in set_up(client, gateway).replace("\\\n", "").splitlines()]
    return dict(word.split("=", 1) for name, *words in exports for word in words if name == "export"), command


class ClaudeCode:
    flags = ()  # its own choice of a model is a name that stands for one here
    name = "Claude Code"
    side_turns = 0

    def plan(self, work):
        path = str(work / "a.txt")
        edit = {"file_path": path, "old_string": "hello", "new_string": "goodbye"}
        return [
            {"think": THINK, "say": "I look.", "call": "Read", "arguments": {"file_path": path}},
            {"call": "Edit", "arguments": edit},
            {"say": "Copying.", "call": "Bash", "arguments": {"command": COMMAND, "description": "Copy"}},
            ANSWER,
        ]

    def run(self, packages, gateway, folder, prompt=PROMPT, *flags):
        environ, [program] = in_a_terminal("Claude Code", gateway)
        command = [packages / ".bin" / program, "-p", prompt, "--output-format", "stream-json",
                   "--verbose", "--dangerously-skip-permissions", *self.flags, *flags]  # fmt: skip
        return folder.run(
            command, **environ, IS_SANDBOX="1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", DISABLE_AUTOUPDATER="1",
            DISABLE_TELEMETRY="1",
        )  # fmt: skip

    def go_on(self, packages, gateway, folder, prompt):
        return self.run(packages, gateway, folder, prompt, "--continue")


class ClaudeCodeSonnet(ClaudeCode):
    """For older models it sends another system prompt, reminders in results, and asks for thinking otherwise."""

    flags = ("--model", "claude-sonnet-4-5")
    name = "Claude Code, older model"


class Codex:
    name = "Codex CLI"
    side_turns = 0

    def plan(self, work):
        steps = ["cat a.txt", f"apply_patch <<'EOF'\n{PATCH}\nEOF", COMMAND]
        calls = [{"call": "exec_command", "arguments": {"cmd": step}} for step in steps]
        return [{"think": THINK, "say": "I look.", **calls[0]}, *calls[1:], ANSWER]

    def run(self, packages, gateway, folder, prompt=PROMPT, *command):
        environ, [program, *settings] = in_a_terminal("Codex", gateway)
        alone = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        return folder.run([packages / ".bin" / program, "exec", *command, *alone, *settings, prompt], **environ)

    def go_on(self, packages, gateway, folder, prompt):
        return self.run(packages, gateway, folder, prompt, "resume", "--last")


class OpenCode:
    name = "opencode"
    side_turns = 1  # it has a title made meanwhile
    npm = "@ai-sdk/openai-compatible"

    def plan(self, work):
        path = str(work / "a.txt")
        edit = {"filePath": path, "oldString": "hello", "newString": "goodbye"}
        return [
            {"say": "I look.", "call": "read", "arguments": {"filePath": path}},
            {"call": "edit", "arguments": edit},
            {"say": "Copying.", "call": "bash", "arguments": {"command": COMMAND, "description": "Copy"}},
            ANSWER,
        ]

    def run(self, packages, gateway, folder, prompt=PROMPT, *flags):
        config = set_up("opencode", gateway).replace(OpenCode.npm, self.npm)
        (folder.work / "opencode.json").write_text(config)
        command = [packages / ".bin" / "opencode", "run", *flags, prompt]
        return folder.run(command, OPENCODE_DISABLE_AUTOUPDATE="1", OPENCODE_DISABLE_MODELS_FETCH="1")

    def go_on(self, packages, gateway, folder, prompt):
        return self.run(packages, gateway, folder, prompt, "--continue")


class OpenCodeResponses(OpenCode):
    name = "opencode, Responses"
    npm = "@ai-sdk/openai"


class OpenCodeAnthropic(OpenCode):
    name = "opencode, Anthropic"
    npm = "@ai-sdk/anthropic"


AGENTS = [ClaudeCode(), ClaudeCodeSonnet(), Codex(), OpenCode()]
VARIANTS = [OpenCodeResponses(), OpenCodeAnthropic()]
CASES = [(agent, reuse) for reuse in (True, False) for agent in AGENTS] + [(agent, True) for agent in VARIANTS]


NAMES = [f"{type(agent).__name__}-{'reuse' if reuse else 'whole'}" for agent, reuse in CASES]


@pytest.mark.parametrize(("agent", "reuse"), CASES, indirect=["reuse"], ids=NAMES)
def test_an_agent_finishes_its_task_and_is_taken_up_again(agent, node_clients, gateway, folder, reuse, report):
    plan = [*agent.plan(folder.work), {"say": "Nothing more to do."}]
    with watched(gateway, plan) as seen:
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


def test_codex_calls_tools_of_a_namespace(node_clients, gateway, folder):
    call = {"call": "multi_agent_v1__close_agent", "arguments": {"target": "nobody"}}
    with watched(gateway, [call, ANSWER]) as seen:
        told = Codex().run(node_clients, gateway, folder)
    assert len(seen) == 2
    assert "the last result proves: " in told
    assert "unsupported call" not in told


def test_claude_code_is_told_of_tools_that_it_loads_later(node_clients, gateway, folder, reuse):
    search = {"call": "ToolSearch", "arguments": {"query": "select:WebFetch", "max_results": 3}}
    fetch = {"call": "WebFetch", "arguments": {"url": f"{base(gateway)}/healthz", "prompt": "status"}}
    with watched(gateway, [search, fetch, ANSWER]) as seen:
        told = ClaudeCode().run(node_clients, gateway, folder)
    assert "the last result proves: " in told
    assert [each.is_reply for each in seen] == [False, reuse, reuse]


SLIPS = {
    "tolerated": ("comma", "fence", "quotes"),
    "tolerated too": ("string", "alias", "prose"),
    "refused by the agent's tools": ("missing", "type", ""),
}


@pytest.mark.parametrize("slips", SLIPS.values(), ids=SLIPS)
def test_an_agent_gets_over_what_its_model_writes_wrongly(slips, node_clients, gateway, folder):
    agent = ClaudeCode()
    *calls, answer = agent.plan(folder.work)
    plan = [{**call, "flaw": slip} for call, slip in zip(calls, slips, strict=True)]
    with watched(gateway, [*plan, answer]):
        told = agent.run(node_clients, gateway, folder)
    assert folder.is_done(), told
    assert "copied goodbye" in told


BLOCK = "a.txt\n```\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n"


def test_aider_edits_and_mends_until_its_test_passes(aider, gateway, folder):
    plan = [{"say": BLOCK.format(old="hello", new="good")}, {"say": BLOCK.format(old="good", new="goodbye")}]
    environ, [_, *settings] = in_a_terminal("aider", gateway)
    command = [aider, *settings, "--edit-format", "diff", "--yes-always", "--no-git", "--no-pretty",
               "--no-check-update", "--no-show-model-warnings", "--analytics-disable", "--auto-test", "--test-cmd",
               "grep -x goodbye a.txt && cp a.txt b.txt", "--message", PROMPT, "a.txt"]  # fmt: skip
    with watched(gateway, plan) as seen:
        told = folder.run(command, **environ)
    assert folder.is_done(), told
    assert len(seen.sessions) == 2

"""Coding agents, set up as the console tells their users; what their tools are called and how they are run."""

import shlex

from accounts.keys.snippets import setups
from tests.clients.task import MODEL, PROMPT
from tests.e2e.installation import KEY


def base(gateway):
    return f"http://127.0.0.1:{gateway.port}"


def set_up(client, gateway):
    """What the console tells the users of this client to paste."""
    return next(setup.text for setup in setups(base(gateway), KEY, MODEL) if setup.client == client)


def in_a_terminal(text):
    """(environment, words of the command) of a set-up that is pasted into a shell."""
    *exports, command = [shlex.split(line) for line in text.replace("\\\n", "").splitlines()]
    return dict(word.split("=", 1) for name, *words in exports for word in words if name == "export"), command


def call(tool, **arguments):
    """A step of a plan."""
    return {"call": tool, "arguments": arguments}


class ClaudeCode:
    flags = ()  # its own choice of a model is a name that stands for one here
    name = "Claude Code"
    side_turns = 0
    """Turns that belong to no round of the task."""

    def set_up(self, gateway):
        return set_up("Claude Code", gateway)

    def read(self, path):
        return call("Read", file_path=str(path))

    look_at = read

    def edit(self, path, old, new):
        return call("Edit", file_path=str(path), old_string=old, new_string=new)

    def write(self, path, text):
        return call("Write", file_path=str(path), content=text)

    def shell(self, command):
        return call("Bash", command=command, description="Run it")

    def run(self, packages, gateway, folder, prompt=PROMPT, *flags):
        environ, [program] = in_a_terminal(self.set_up(gateway))
        command = [packages / ".bin" / program, "-p", prompt, "--output-format", "stream-json", "--verbose",
                   "--dangerously-skip-permissions", *self.flags, *flags]  # fmt: skip
        return folder.run(
            command, **environ, IS_SANDBOX="1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", DISABLE_AUTOUPDATER="1",
            DISABLE_TELEMETRY="1",
        )  # fmt: skip

    def go_on(self, packages, gateway, folder, prompt):
        return self.run(packages, gateway, folder, prompt, "--continue")


class OlderClaudeCode(ClaudeCode):
    """For older models it sends another system prompt, reminders in results, and asks for thinking otherwise."""

    flags = ("--model", "claude-sonnet-4-5")
    name = "Claude Code, older model"


class ConfinedClaudeCode(ClaudeCode):
    """With a key that may use one model: its set-up replaces every one that it would ask for by itself."""

    def __init__(self, key):
        self.key = key

    def set_up(self, gateway):
        texts = setups(base(gateway), self.key, MODEL, claude_model=MODEL)
        return next(each.text for each in texts if each.client == "Claude Code")


class Codex:
    name = "Codex CLI"
    side_turns = 0

    def shell(self, command):
        return call("exec_command", cmd=command)

    def read(self, path):
        return self.shell(f"cat {path}")

    def look_at(self, path):
        return call("view_image", path=str(path))

    def edit(self, path, old, new):
        patch = f"*** Begin Patch\n*** Update File: {path}\n@@\n-{old}\n+{new}\n*** End Patch"
        return self.shell(f"apply_patch <<'EOF'\n{patch}\nEOF")

    def write(self, path, text):
        return self.shell(f"cat >{path} <<'EOF'\n{text}EOF")

    def run(self, packages, gateway, folder, prompt=PROMPT, *command):
        environ, [program, *settings] = in_a_terminal(set_up("Codex", gateway))
        alone = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        return folder.run([packages / ".bin" / program, "exec", *command, *alone, *settings, prompt], **environ)

    def go_on(self, packages, gateway, folder, prompt):
        return self.run(packages, gateway, folder, prompt, "resume", "--last")


class OpenCode:
    name = "opencode"
    side_turns = 1  # it has a title made meanwhile
    npm = "@ai-sdk/openai-compatible"

    def read(self, path):
        return call("read", filePath=str(path))

    look_at = read

    def edit(self, path, old, new):
        return call("edit", filePath=str(path), oldString=old, newString=new)

    def write(self, path, text):
        return call("write", filePath=str(path), content=text)

    def shell(self, command):
        return call("bash", command=command, description="Run it")

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

"""The task that every client finishes, and what the gateway and the service saw of it."""

import json
import os
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

from tests.e2e.installation import KEY, until

PROMPT = "Read a.txt, change hello to goodbye in it, copy it to b.txt and tell me what you did."
COMMAND = "cp a.txt b.txt && echo copied $(cat b.txt)"
ANSWER = {"say": "Done, as the last result proves: {{last_result}}"}
MODEL = "org_auto"
KEPT = ("PATH", "LANG", "TERM", "TMPDIR")


class Folder:
    """Where a client works, and a home of its own beside it."""

    def __init__(self, root):
        self.work, self.home = root / "work", root / "home"
        self.work.mkdir(parents=True)
        self.home.mkdir()
        (self.work / "a.txt").write_text("hello\n")

    def run(self, command, *, seconds=120, **environ):
        """A client's run from start to end; what it printed."""
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        done = subprocess.run(
            [str(part) for part in command], cwd=self.work, env={**env, "HOME": str(self.home), **environ},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=seconds,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def is_done(self):
        """The files prove it."""
        texts = [(self.work / name).read_text() if (self.work / name).exists() else "" for name in ("a.txt", "b.txt")]
        return texts == ["goodbye\n", "goodbye\n"]


class Round(NamedTuple):
    """One question to the service: what it weighed as JSON, and whether it went on in a session."""

    size: int
    is_reply: bool


class Seen(list):
    """The rounds of one conversation with tools, and the sessions of all turns as their rows tell them."""

    sessions: list[str]


@contextmanager
def watched(gateway, plan, key=KEY, *, turns=1):
    """Follow this plan meanwhile; what is seen is there at the end, with the rows of so many turns at least."""
    gateway.control(plan=plan)
    asked, filed = len(asks(gateway)), set(gateway.rows())
    seen = Seen()
    yield seen
    gateway.control()
    new = asks(gateway)[asked:]
    until(lambda: len(gateway.rows().keys() - filed) >= turns)
    rows = [row for name, row in gateway.rows().items() if name not in filed]
    seen.sessions = [row["session"] for row in rows]
    seen += [
        Round(size_of(params), params["isReply"]) for params in new if params["isReply"] or "<call:" in text_of(params)
    ]


def asks(gateway):
    return [each["params"] for each in gateway.received() if each.get("method") == "chat/ask"]


def text_of(params):
    return params["questionText"]


def size_of(params):
    return len(json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode())


def plan_for(agent, work):
    path = work / "a.txt"
    return [
        {"think": "I must look first.", "say": "I look.", **agent.read(path)},
        agent.edit(path, "hello", "goodbye"),
        {"say": "Copying.", **agent.shell(COMMAND)},
        ANSWER,
    ]

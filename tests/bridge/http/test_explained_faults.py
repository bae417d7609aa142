"""Each fault of the simulator, from the turn that meets it to the sentence on the page of that request."""

import asyncio
import html
import json
import re
from contextlib import asynccontextmanager

import pytest
import redis

from accounts.keys.keyring import KeyRing
from accounts.ledger.filing import flush
from accounts.models import Usage
from bridge.http.routing import CHAT_CONSUMERS
from bridge.runtime import process
from bridge.runtime.runtime import Runtime
from bridge.simulator.options.fault_names import NAMES
from gateway_project.env import Environment
from tests.bridge.http.serving import PEPPER, Answer, load_key, post
from tests.bridge.pools import in_state

PATH = "/v1/chat/completions"
AGAIN = "Send it again."
WAIT = "It could be tried again some time later."
GOOD = ("ok", "stop", "Answered in full in some time.", "")
FAILED = ("error", "upstream", "Lingma failed the turn.", AGAIN)
SILENT = ("error", "timeout", "Lingma was silent for too long.", AGAIN)
LIMITED = ("error", "rate_limited", "Lingma limits how much its account may ask.", WAIT)
UNREADY = ("refused", "unavailable", "No Lingma instance was ready.", WAIT)
FILTERED = (
    "error", "content_filter", "Lingma refused the content of the request.",
    "Put it differently, or begin a new conversation; sent again as it is, it will be refused again.",
)  # fmt: skip
POISON = (
    "error", "crashing_prompt", "Lingma exits when it is asked this, so it is not asked again for an hour.",
    "Change the request.",
)  # fmt: skip
LOGGED_OUT = (
    "error", "logged_out", "The Lingma instance was logged out while it answered.",
    "Send it again later; if the login does not come back by itself, an operator has to log in.",
)  # fmt: skip
NO_PLAN = (
    "error", "insufficient_quota", "The plan of the Lingma account was used up, or it had none.",
    "Have the plan renewed, or give the instance another login.",
)  # fmt: skip

TURNS = {
    "F1": ("", FAILED), "F3": ("", FAILED), "F3 408": ("finish=408", SILENT), "F3 429": ("finish=429", LIMITED),
    "F3 112": ("finish=112", NO_PLAN), "F3 601": ("finish=601", FILTERED), "F4": ("", GOOD), "F5": ("", GOOD),
    "F8": ("cut_ms=30 cut_above=10 delay_ms=60000 finish=418", FAILED), "F9": ("", FILTERED),
    "F9 418": ("finish=418", FAILED), "F11": ("", GOOD), "F12": ("", GOOD), "F13": ("", GOOD), "F14": ("", GOOD),
    "F15": ("oversize=2000000", GOOD), "F16": ("", FAILED), "F17": ("", FAILED), "F21": ("", FAILED),
    "F21 at once": ("after=0", POISON), "F25": ("", GOOD), "F27": ("", GOOD), "F28": ("", GOOD), "F30": ("", FAILED),
    "F10": ("", LOGGED_OUT),
}  # fmt: skip
"""Options of a turn, and how it ends. The login is lost in the last."""
PAIR = {"F20": GOOD, "F20 the other": GOOD}
CROWD = {"F26": LIMITED}
QUIET = {"F2": SILENT, "F6": SILENT, "F7": SILENT, "F30 unasked": SILENT}
"""The last: a question that is a notification has no answer, and so no error either."""
HARMLESS = dict.fromkeys(("F22", "F23", "F24", "F29"), GOOD)
"""They end no turn: F22 is met by a stop, F23 and F24 by who looks for a service, F29 by who reads its version."""
NEVER_READY = dict.fromkeys(("F18", "F19"), UNREADY)
ENDS = {name: end for name, (_, end) in TURNS.items()} | PAIR | CROWD | QUIET | HARMLESS | NEVER_READY


class Hasty(Environment):
    """Nobody waits for a minute here until a silent turn is given up."""

    @property
    def turn_silence_sec(self):
        return 0.3


class Gateway:
    """Answers requests, and keeps their ids by the names of faults."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.ids = {}

    async def ask(self, name, options="", answer=None):
        prompt = f"[[sim: chunks=3 first_ms=0 delay_ms=0 {options}]] {name}"
        body = {"model": "org_auto", "stream": True, "messages": [{"role": "user", "content": prompt}]}
        async with asyncio.timeout(60):
            answer = await post(CHAT_CONSUMERS[PATH](), json.dumps(body).encode(), PATH, answer=answer)
        if answer.gone.is_set():
            return
        self.ids[name] = answer.headers[b"x-request-id"].decode()


@pytest.fixture
def new_gateway(redis_server, tmp_path, monkeypatch):
    """`async with new_gateway(…)`: a runtime that starts a simulator with these faults."""

    @asynccontextmanager
    async def new_gateway(faults="", environment=Environment, *, ready=True, **settings):
        monkeypatch.setenv("LINGMA_SIMULATOR_FAULT", faults)
        monkeypatch.setenv("LINGMA_SIMULATOR_MAX_PARALLEL", "2" if ready else "0")
        settings = {"lingma_cool_max_sec": 0, "drain_sec": 1, **settings}
        runtime = Runtime(environment(redis_url=redis_server, **settings), tmp_path / f"data {faults}", PEPPER)
        runtime.keys = KeyRing(PEPPER, runtime.link, load_key)
        monkeypatch.setattr(process, "_runtime", runtime)
        runtime.pool.start()
        try:
            if ready:
                await in_state(runtime.pool, "ready")
            yield Gateway(runtime)
        finally:
            await runtime.stop()

    return new_gateway


async def meet_faults_of_turns(new_gateway):
    async with new_gateway("F22,F23,F29", lingma_ask_kind="request") as gateway:
        for name in ("F22", "F23", "F29"):
            await gateway.ask(name)
        await asyncio.gather(*(gateway.ask(name, "fault=F20") for name in PAIR))
        for name, (options, _) in TURNS.items():
            await gateway.ask(name, f"fault={name.split()[0]} {options}")
    return gateway.ids


async def meet_crowd(new_gateway):
    """Two are taken, whichever they are; who was too much is told at once."""
    async with new_gateway("F24") as gateway:
        await gateway.ask("F24")
        answers = [Answer() for _ in range(3)]
        asked = [asyncio.create_task(gateway.ask("F26", "first_ms=60000", answer)) for answer in answers]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for answer in answers:
            answer.gone.set()
        await asyncio.gather(*asked)
    return gateway.ids


async def meet_silence(new_gateway):
    async with new_gateway("", Hasty) as gateway:
        for name in QUIET:
            await gateway.ask(name, f"fault={name.split()[0]} first_ms=-1")
    return gateway.ids


async def meet_unready(new_gateway):
    ids = {}
    for fault in NEVER_READY:
        async with new_gateway(fault, ready=False, queue_timeout_sec=1) as gateway:
            await gateway.ask(fault)
        ids |= gateway.ids
    return ids


MET = {
    meet_faults_of_turns: {"F22", "F23", "F29", *PAIR, *TURNS},
    meet_crowd: {"F24", *CROWD},
    meet_silence: {*QUIET},
    meet_unready: {*NEVER_READY},
}


def told(client, request_id):
    """Status and reason of the row; sentence and advice of the page, with all times alike."""
    row = Usage.objects.get(request_id=request_id)
    page = client.get(f"/usage/r/{request_id}").content.decode()
    texts = re.search(r'<h1 id="verdict">(.*?)</h1>\s*(?:<p>(.*?)</p>)?', page).groups(default="")
    return row.status, row.reason, *(re.sub(r"[\d.,]+ m?s\b", "some time", html.unescape(text)) for text in texts)


def test_table_has_every_fault():
    assert {name.split()[0] for name in ENDS} == set(NAMES)
    assert set().union(*MET.values()) == set(ENDS)


@pytest.mark.django_db
@pytest.mark.parametrize("meet", MET, ids=lambda meet: meet.__name__)
def test_each_fault_has_its_sentence(meet, new_gateway, redis_server, tmp_path, admin_client):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        ids = asyncio.run(meet(new_gateway))
        flush(client, tmp_path / "spool")
    assert {name: told(admin_client, id_) for name, id_ in ids.items()} == {name: ENDS[name] for name in MET[meet]}

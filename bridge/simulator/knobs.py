"""Everything that can be told to the simulator, and how the layers of telling add up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec

from . import plan

ENVIRONMENT_PREFIX = "LINGMA_SIMULATOR_"
CONTROL_FILE = "simulator.json"


NUMBERS = msgspec.Meta(pattern=r"^(-?\d+(,-?\d+)*)?$")


class KnobError(Exception):
    """A knob has an unknown name or a value that makes no sense; the message is for whoever wrote the script."""


class ServiceKnobs(msgspec.Struct, frozen=True, kw_only=True):
    """What concerns the process as a whole."""

    login: Annotated[Literal["", "auto", "out"], "auto: write a valid login bundle; out: log out"] = ""
    user: Annotated[str, "name of the account that logs in"] = "simulated@example.com"
    organizations: Annotated[str, "comma list; with two or more, the login asks to choose one"] = ""
    nonce_expires_sec: Annotated[float, "how long a login attempt lives"] = 300
    token_days: Annotated[float, "how long a fresh token lives"] = 60
    auth_status: Annotated[int, "fixed auth/status.status; 0: the true one"] = 0
    models: Annotated[str, "comma list of key:Name; a change pushes config/refreshModels (F25)"] = ""
    models_empty: Annotated[bool, "config/queryModels answers {} (F19)"] = False
    user_plan: Annotated[str, "value of user/plan; empty: the error -32603"] = ""
    version_string: Annotated[str, "version told everywhere (F29)"] = "2.11.1"
    server_name: Annotated[str, "serverInfo.name"] = "lingma"
    start_delay_ms: Annotated[float, "wait before anything is listened on"] = 0
    start_fails: Annotated[bool, "exit with exit_code instead of starting"] = False
    exit_after_sec: Annotated[float, "exit with exit_code after so long; 0: never"] = 0
    exit_code: Annotated[int, "exit code of failures and crashes"] = 1
    stop_delay_ms: Annotated[float, "wait between a signal and the exit"] = 0
    ignore_sigint: Annotated[bool, "go on after SIGINT (F22)"] = False
    ignore_sigterm: Annotated[bool, "go on after SIGTERM"] = False
    initialize_silent: Annotated[bool, "never answer initialize (F18)"] = False
    need_initialize: Annotated[bool, "refuse calls before initialize"] = True
    info_every_sec: Annotated[float, "how often .info.json is rewritten"] = 30
    info_port: Annotated[int, "port written to .info.json; 0: the true one (F23)"] = 0
    info_stale: Annotated[bool, "leave .info.json as a crash would: dead pid, dead port (F24)"] = False
    ipc: Annotated[bool, "listen on <workDir>/lingma.sock too"] = False
    crash_on_turn: Annotated[int, "crash when the n-th turn has sent its first chunks (F21)"] = 0
    max_parallel: Annotated[int, "turns above this many finish with 429 (F26); 0: no limit"] = 0
    rewrite_user_ms: Annotated[float, "rewrite cache/user so often (F28); 0: never"] = 0
    ack_timeout_ms: Annotated[float, "an unacknowledged push is logged after so long"] = 10_000
    ack_gate: Annotated[bool, "the next push waits for the acknowledgement or its time-out"] = False
    adopt_session: Annotated[bool, "an unknown session id is taken over; false: another is allocated"] = True
    reply_unknown: Annotated[Literal["fresh", "error"], "isReply for an unknown session: fresh or error"] = "fresh"
    unknown_model: Annotated[Literal["default", "error"], "unknown model key: default or error"] = "default"
    persist: Annotated[bool, "keep the sessions in the work dir over a restart"] = False
    record: Annotated[bool, "write <workDir>/received.jsonl"] = False
    image_upload: Annotated[
        Literal["ok", "early", "twice", "late", "request", "failed", "refused", "error", "silent", "mute"],
        "how image/upload ends: ok; told early (before the answer), twice, late (after image_ms) or as a request; told "
        "as failed; refused or error by the answer; silent (answered, never told) or mute (not even answered)",
    ] = "ok"
    image_ms: Annotated[float, "with image_upload=late: how much later"] = 11_000
    log_max_bytes: Annotated[int, "rotate logs/lingma.log at this size; 0: never"] = 0
    pings: Annotated[
        Literal["all", "frames", "requests", "none"], "which pings are answered: all, frames, requests or none"
    ] = "all"
    idle_sec: Annotated[float, "close a connection on which a client said nothing for so long; 0: never"] = 0
    kick: Annotated[int, "a changed number closes every connection"] = 0
    seed: Annotated[int, "seed of ids and clock; 0: real ones"] = 0


class TurnKnobs(msgspec.Struct, frozen=True, kw_only=True):
    """What concerns one turn; the only ones a marker may set."""

    text: Annotated[str, "the answer, verbatim"] = ""
    echo: Annotated[
        Literal["", "prompt", "params", "history"], "answer with what was received: prompt, params or history"
    ] = ""
    chunks: Annotated[int, "cut the answer into so many chunks; an answer without text gets one word each"] = 0
    size: Annotated[int, "characters per chunk"] = 0
    first_ms: Annotated[float, "time to the first token; -1: 150 to 300"] = -1
    delay_ms: Annotated[float, "time between chunks; -1: 20 to 32"] = -1
    empty: Annotated[int, "an empty delta after every n-th chunk"] = 0
    overwrite: Annotated[str, "text of a last delta with overwrite:true"] = ""
    field: Annotated[Literal["text", "content"], "text or content: the key that carries a delta"] = "text"
    full_answer: Annotated[Literal["empty", "full", "only"], "empty, full, or only (nothing is streamed)"] = "full"
    finish: Annotated[int, "statusCode of chat/finish"] = 200
    reason: Annotated[str, "reason of chat/finish; empty: what suits the code"] = ""
    session: Annotated[str, "sessionId told in chat/finish; new: a fresh one"] = ""
    title: Annotated[bool, "push session/title/update for a new session"] = True
    steps: Annotated[bool, "push chat/process_step_callback before the text"] = True
    context_usage: Annotated[bool, "push context/usage/sync before the end"] = False
    plan: Annotated[
        str,
        "JSON list of what an obedient model does, one step per turn: {say, think, call, arguments, calls: [{call, "
        "arguments}], flaw, times}. It calls in the format that the prompt asks for and goes on when results came; "
        "{{last_result}} and {{results}} (their number) are filled in. flaw, in the first `times` attempts: fence, "
        "quotes, comma, string, alias, unknown, missing, type, nonce, cut, no_call or prose",
    ] = ""
    think: Annotated[str, "reasoning text, sent before the answer"] = ""
    think_style: Annotated[Literal["push", "fence", "tags"], "push (chat/think), fence or tags"] = "push"
    think_end: Annotated[Literal["done", "end"], "step of the last chat/think: done or end"] = "done"
    ids: Annotated[Literal["int", "string", "none"], "ids of pushes: int, string or none (notifications)"] = "int"
    frame: Annotated[Literal["text", "binary"], "frames of pushes: text or binary"] = "text"
    merge: Annotated[int, "put so many messages into one frame"] = 1
    split: Annotated[str, "cut each message: one number n = every n bytes, a list = at these positions", NUMBERS] = ""
    fragment: Annotated[int, "send each frame as fragments of n bytes"] = 0
    ping: Annotated[bool, "a ping frame before every push"] = False
    duplicate: Annotated[bool, "send every push twice, with the same id"] = False
    usage: Annotated[str, "prompt,completion tokens of the log line; empty: counted", NUMBERS] = ""
    usage_line: Annotated[
        Literal["before", "after", "never"], "when the log tells the usage: before or after chat/finish, or never"
    ] = "before"
    usage_late_ms: Annotated[float, "with usage_line=after: how much later"] = 0
    ask_error: Annotated[str, "chat/ask fails with this message (F30)"] = ""
    ask_refused: Annotated[bool, "chat/ask answers success:false"] = False
    ignore_stop: Annotated[bool, "chat/stop is answered, and the turn goes on"] = False
    fault: Annotated[str, "comma list of faults, by number or name"] = ""
    after: Annotated[int, "the fault comes after so many chunks"] = 1
    silence_ms: Annotated[float, "length of F7's silence"] = 3_600_000
    cut_ms: Annotated[float, "F8 cuts the stream after so long"] = 62_000
    cut_above: Annotated[int, "F8 cuts prompts of more characters"] = 200_000
    oversize: Annotated[int, "bytes of F15's message"] = 16_777_216
    tools: Annotated[str, "comma list of tools the agent calls, e.g. read_file,list_dir"] = ""
    tool_args: Annotated[str, "JSON object: parameters of the tools"] = '{"file_path":"/workspace/a.txt"}'
    tool_results: Annotated[str, "JSON list: results of the service's own tools"] = '[{"content":"simulated"}]'
    tool_async: Annotated[bool, "tool/invoke is acknowledged at once, its result comes by tool/invokeResult"] = True
    tool_approval: Annotated[bool, "a tool waits for tool/call/approve"] = True
    tool_timeout_ms: Annotated[float, "how long an approval or a result is waited for"] = 120_000
    tool_shape: Annotated[
        Literal["plain", "named", "nested", "snake", "data", "items"],
        "spelling of tool/call/sync: plain, named, nested (toolCall), snake (tool_call), data (data.toolCall) or items",
    ] = "plain"
    tool_words: Annotated[
        Literal["plugin", "phases"], "status words: the plugin's, or pending, processing and results"
    ] = "plugin"
    tool_start: Annotated[
        Literal["pending", "running", "finished"], "state in which a tool is first told of; finished: and only then"
    ] = "pending"
    tool_ids: Annotated[
        Literal["all", "first", "request"], "ids in tool events: all, requestId in the first only, or no sessionId"
    ] = "all"
    tool_card: Annotated[bool, "a tool is announced by a card in the text"] = True
    tool_twice: Annotated[bool, "every tool/call/sync comes twice, as two requests"] = False
    tool_done: Annotated[bool, "tool/invoke carries the result of the service itself"] = False
    tool_echo: Annotated[bool, "what a client says of a tool is pushed to it in turn"] = False
    tool_lower: Annotated[bool, "tool status in lower case"] = False
    tool_forward: Annotated[bool, "a function forced by toolConfig becomes a tool event"] = False


SERVICE_FAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("f18", "initialize_silent"): {"initialize_silent": True}, ("f19", "models_empty"): {"models_empty": True},
    ("f22", "ignore_sigint"): {"ignore_sigint": True}, ("f23", "info_port"): {"info_port": 9},
    ("f24", "info_stale"): {"info_stale": True}, ("f26", "parallel_limit"): {"max_parallel": 1},
    ("f29", "version"): {"version_string": "9.9.9"},
}  # fmt: skip
SERVICE_NAMES = frozenset(ServiceKnobs.__struct_fields__)
TURN_NAMES = frozenset(TurnKnobs.__struct_fields__)
Layer = dict[str, Any]
Knobs = TypeVar("Knobs")


def described() -> Iterator[tuple[str, str, Any, str]]:
    """(room, name, default, meaning) of every knob; the room is `service` or `turn`."""
    for room, struct in (("service", ServiceKnobs), ("turn", TurnKnobs)):
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            yield room, field.name, field.default, hints[field.name].__metadata__[0]


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Names that are no knob are left alone: a typo there must not stop a service."""
    found = {key[len(ENVIRONMENT_PREFIX) :].lower(): value for key, value in environ.items()}
    names = {key[len(ENVIRONMENT_PREFIX) :].lower() for key in environ if key.startswith(ENVIRONMENT_PREFIX)}
    return {name: found[name] for name in names & (SERVICE_NAMES | TURN_NAMES)}


def service_knobs(layer: Layer) -> ServiceKnobs:
    """The process part of a layer; raise KnobError."""
    return _build(ServiceKnobs, {name: value for name, value in layer.items() if name in SERVICE_NAMES})


def turn_knobs(layer: Layer) -> TurnKnobs:
    """The turn part of a layer; raise KnobError."""
    for name in {"tool_args", "tool_results"} & layer.keys():
        _check_json(name, _as_text(layer[name]))
    if text := layer.get("plan"):
        _check_plan(_as_text(text))
    return _build(TurnKnobs, {name: value for name, value in layer.items() if name in TURN_NAMES})


def _check_json(name: str, text: str) -> None:
    try:
        json.loads(text)
    except ValueError as exc:
        raise KnobError(f"{name} is not valid JSON: {exc}") from None


def _check_plan(text: str) -> None:
    try:
        plan.read(text)
    except ValueError as exc:
        raise KnobError(f"plan: {exc}") from None


def _build(struct: type[Knobs], values: Layer) -> Knobs:
    texts = {name: _as_text(value) for name, value in values.items()}
    try:
        return msgspec.convert(texts, struct, strict=False)
    except msgspec.ValidationError as exc:
        raise KnobError(str(exc)) from None


def _as_text(value: Any) -> Any:
    """A JSON file may say `["a","b"]` or an object where a flag says `a,b` or JSON text."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, (dict, list)) else value


class Controls:
    """The layers below a marker: environment, script file, flags, and the control file, re-read when it changed."""

    def __init__(self, work_dir: Path, flags: Layer, script: Path | None = None) -> None:
        self.path = work_dir / CONTROL_FILE
        self._base = {**from_environment(os.environ), **(_read(script) if script else {}), **flags}
        self._seen: tuple[int, int] | None = None
        self._queue: list[Layer] = []
        self._adopt(self._base)

    def _adopt(self, layer: Layer) -> None:
        self.layer = layer
        self.service = service_knobs({**_told_by_faults(layer), **layer})
        self.turn = turn_knobs(layer)
        self._queue = [dict(item) for item in layer.get("turns", [])]

    def refresh(self) -> bool:
        """Whether the control file said something new."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return False
        if (seen := (stat.st_mtime_ns, stat.st_size)) == self._seen:
            return False
        self._seen = seen
        self._adopt({**self._base, **_read(self.path)})
        return True

    def for_turn(self, marker: Layer) -> TurnKnobs:
        """The knobs of the next turn: a marker beats the next entry of `turns`, and that the rest."""
        scripted = self._queue.pop(0) if self._queue else {}
        if not (scripted or marker):
            return self.turn
        if _told_by_faults(marker):
            raise KnobError(f"a fault of the process cannot be set for one turn: {marker['fault']}")
        own = {**scripted, **marker}
        if "plan" not in own and own.keys() & {"text", "echo", "chunks"}:
            own["plan"] = ""  # what is wanted of this very turn beats a plan for all
        return turn_knobs({**self.layer, **own})


def _told_by_faults(layer: Layer) -> Layer:
    """Faults of the process, asked for by number or name."""
    asked = {part.strip().lower() for part in _as_text(layer.get("fault", "")).split(",")}
    told = [knobs for names, knobs in SERVICE_FAULTS.items() if asked.intersection(names)]
    return {name: value for knobs in told for name, value in knobs.items()}


def _read(path: Path) -> Layer:
    for _ in range(5):
        try:
            layer = json.loads(path.read_bytes())
            break
        except ValueError:
            time.sleep(0.02)  # caught in the middle of being written
    else:
        raise KnobError(f"{path} is not valid JSON")
    if not isinstance(layer, dict):
        raise KnobError(f"{path} must hold a JSON object")
    unknown = set(layer) - SERVICE_NAMES - TURN_NAMES - {"turns"}
    if unknown:
        raise KnobError(f"{path}: no such knob: {', '.join(sorted(unknown))}")
    return layer

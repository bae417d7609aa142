"""The service: listeners, clients, turns and the files of its work directory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from . import workdir
from .account import Account, User
from .chance import Chance
from .knobs import Controls, KnobError, ServiceKnobs
from .methods import Methods
from .pages import PageEnd
from .peer import Peer
from .quirks import Quirks
from .recorder import Recorder
from .sessions import Sessions
from .tools import ToolCall
from .transport import StreamEnd, WebSocketEnd
from .turn import Turn
from .wheel import Wheel

SCENES = ("assistant", "chat", "developer", "inline", "quest")
MODELS = (
    "org_auto:Auto,dashscope_qmodel:Qwen3.6-Plus,dashscope_qwen3_coder:Qwen3-Coder,"
    "dashscope_qwen_max_latest:Qwen3-Max,dashscope_qwen_plus_20250428_thinking:Qwen3-Thinking,"
    "kmodel:Kimi-K2.6,mmodel:MiniMax-M2.7"
)
REASONING = ("thinking", "qmodel", "kmodel", "mmodel")
DEAD_PORT, DEAD_PID = 1, 4_194_303  # nobody listens on the first, the second is the largest possible pid


class Counts(msgspec.Struct):
    """What `simulator/report` tells; times in seconds."""

    pushes: int = 0
    acks: int = 0
    late_acks: int = 0
    stray_acks: int = 0
    refused_pushes: int = 0
    slowest_ack: float = 0
    turns: int = 0
    connections: int = 0


class Service:
    """One process on one work directory."""

    def __init__(self, root: Path, controls: Controls) -> None:
        knobs = controls.service
        self.root, self.controls = root, controls
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop)
        self.chance = Chance(knobs.seed)
        self.log = workdir.ServiceLog(root, knobs.log_max_bytes)
        self.account = Account(root, self.chance, self.log.write, token_days=knobs.token_days)
        self.sessions = Sessions(root / "cache/db/sessions.json" if knobs.persist else None)
        self.recorder = Recorder(root) if knobs.record else None
        self.methods = Methods(self)
        self.counts = Counts()
        self.peers: set[Peer] = set()
        self.turns: dict[str, Turn] = {}
        self.tool_calls: dict[str, tuple[Turn, ToolCall]] = {}
        self.images: set[str] = set()
        self.partner: Turn | None = None
        self.endpoint: str = ""
        self.port = self.http_port = 0
        self.stopped = asyncio.Event()
        self.exit_code = 0
        self._model_text = knobs.models or MODELS
        self._listeners: list[asyncio.Server] = []

    # -- life ---------------------------------------------------------------------------------------------------
    async def open(self, port: int, http_port: int) -> None:
        """Listen, tell the ports, and be ready. Raise OSError when a port is taken."""
        self._apply_login("")
        listen = self.loop.create_server
        web = await listen(lambda: WebSocketEnd(self), "127.0.0.1", port, backlog=1024)
        pages = await listen(lambda: PageEnd(self), "127.0.0.1", http_port)
        self._listeners = [web, pages]
        self.port, self.http_port = (server.sockets[0].getsockname()[1] for server in self._listeners)
        if self.controls.service.ipc:
            self.ipc.unlink(missing_ok=True)
            self._listeners.append(await self.loop.create_unix_server(lambda: StreamEnd(self), str(self.ipc)))
        self._write_info()
        self._start_chores()  # from the last line below on, signals must be heard
        self.log.write(f"Using http server: {self.http_port}")
        self.log.write(f"Using profile websocket channel: {self.http_port + 1000}")
        self.log.write(f"Communication servers ready - WebSocket: {self.port}, HTTP: {self.http_port}, IPC: {self.ipc}")

    @property
    def ipc(self) -> Path:
        """Path of the unix socket."""
        return self.root / "lingma.sock"

    def _start_chores(self) -> None:
        knobs = self.controls.service
        self._repeat(knobs.info_every_sec, self._write_info)
        self._repeat(0.25, self.look_at_controls)
        self._repeat(0.1, self._expire)
        if knobs.rewrite_user_ms:
            self._repeat(knobs.rewrite_user_ms / 1000, self.account.save)
        if knobs.exit_after_sec:
            self.loop.call_later(knobs.exit_after_sec, self.stop, knobs.exit_code)
        for number, ignored in ((signal.SIGINT, knobs.ignore_sigint), (signal.SIGTERM, knobs.ignore_sigterm)):
            self.loop.add_signal_handler(number, self._ignore if ignored else self._stop_soon)

    def _repeat(self, seconds: float, act: Any) -> None:
        def again() -> None:
            act()
            self.loop.call_later(seconds, again)

        self.loop.call_later(seconds, again)

    def _ignore(self) -> None:
        self.log.write("signal ignored")

    def _stop_soon(self) -> None:
        self.loop.call_later(self.controls.service.stop_delay_ms / 1000, self.stop)

    def stop(self, code: int = 0) -> None:
        """Let `serve` end with this exit code."""
        self.exit_code = code
        self.stopped.set()

    async def close(self) -> None:
        """Close listeners and connections."""
        for server in self._listeners:
            server.close()
        for peer in list(self.peers):
            peer.close(False)
        await asyncio.sleep(0)
        (self.ipc).unlink(missing_ok=True)

    def _write_info(self) -> None:
        knobs = self.controls.service
        port = DEAD_PORT if knobs.info_stale else knobs.info_port or self.port
        pid = DEAD_PID if knobs.info_stale else os.getpid()
        workdir.write_info(self.root, port=port, pid=pid, ipc=self.ipc if knobs.ipc else None)

    def _expire(self) -> None:
        before = self.loop.time() - self.controls.service.ack_timeout_ms / 1000
        for peer in list(self.peers):
            peer.expire(before)
        if idle := self.controls.service.idle_sec:
            for peer in [peer for peer in self.peers if peer.heard_at < self.loop.time() - idle]:
                peer.close(False)

    # -- controls -----------------------------------------------------------------------------------------------
    def look_at_controls(self) -> None:
        """Do what a changed control file says."""
        before = self.controls.service
        try:
            if not self.controls.refresh():
                return
        except KnobError as exc:
            self.log.write(f"control file: {exc}")
            return
        self._apply(before, self.controls.service)

    def _apply(self, before: ServiceKnobs, now: ServiceKnobs) -> None:
        self._apply_login(before.login)
        if now.models != before.models:
            self.change_models(now.models or MODELS)
        if now.record and not self.recorder:
            self.recorder = Recorder(self.root)
        if (now.info_port, now.info_stale) != (before.info_port, before.info_stale):
            self._write_info()
        for peer in list(self.peers):
            peer.plain = Quirks.of(self.controls.turn, websocket=peer.websocket)
            if now.kick != before.kick:
                peer.drop()

    def _apply_login(self, before: str) -> None:
        login = self.controls.service.login
        if login == "auto" and not self.account.user:
            self.log_in()
        elif login == "out" and before != "out" and self.account.user:
            self.log_out()

    # -- clients ------------------------------------------------------------------------------------------------
    def join(self, *, websocket: bool) -> Peer:
        """A client came."""
        self.counts.connections += 1
        peer = Peer(self, self.counts.connections, websocket=websocket)
        self.peers.add(peer)
        return peer

    def leave(self, peer: Peer) -> None:
        """A client went; its turns go on."""
        peer.lost()
        self.peers.discard(peer)

    def broadcast(self, method: str, params: dict[str, Any]) -> None:
        """Push to every client that has initialized."""
        listening = [peer for peer in self.peers if peer.initialized]
        self.log.write(f"broadcast(call) method: {method}, {len(listening)} clients")
        for peer in listening:
            peer.push(method.encode(), msgspec.json.encode(params))

    # -- account ------------------------------------------------------------------------------------------------
    def log_in(self, name: str = "", **known: str) -> None:
        """Make a login and tell everybody, in the order of the service."""
        self.account.log_in(name or self.controls.service.user, **known)
        self.broadcast("config/changeEndpoint", {"endpoint": self.endpoint})
        self.broadcast("model/refresh", {})
        self.broadcast("config/refreshModels", {})
        self.broadcast("auth/report", self.account.status())

    def log_out(self) -> None:
        """End the login and tell everybody."""
        self.account.log_out()
        self.broadcast("auth/report", self.account.status())

    def renew_tokens(self, **known: str) -> User | None:
        """Fresh tokens for the present login, told to everybody; None when logged out."""
        user = self.account.renew(**known)
        if user:
            fields = {"status": 0, "token": user.token, "refreshToken": user.refresh_token,
                      "expireTime": user.expire_time, "id": user.uid}  # fmt: skip
            self.broadcast("auth/syncTokenUpdate", fields)
        return user

    # -- models -------------------------------------------------------------------------------------------------
    def models(self) -> dict[str, Any]:
        """The result of `config/queryModels`."""
        knobs = self.controls.service
        if knobs.models_empty or not self.account.user or knobs.auth_status not in (0, 2):
            return {}
        items = [self._model(text, first=number == 0) for number, text in enumerate(self._model_text.split(","))]
        return dict.fromkeys(SCENES, items)

    def _model(self, text: str, *, first: bool) -> dict[str, Any]:
        key, _, name = text.strip().partition(":")
        return {
            "key": key, "displayName": name or key, "model": "", "format": "openai", "source": "system", "isVl": False,
            "isReasoning": any(part in key for part in REASONING), "isDefault": first, "url": "", "apiKey": "",
            "baseUrl": "", "maxInputTokens": 0,
        }  # fmt: skip

    def model_keys(self) -> list[str]:
        """Keys of the models on offer."""
        return [text.strip().partition(":")[0] for text in self._model_text.split(",")]

    def model_of(self, asked: str) -> str:
        """The model that answers: the one asked for, else the default."""
        keys = self.model_keys()
        return asked if asked in keys else keys[0]

    def change_models(self, text: str) -> None:
        """Offer other models, given as key:Name pairs, and say so."""
        self._model_text = text
        self.broadcast("model/refresh", {})
        self.broadcast("config/refreshModels", {})

    # -- turns --------------------------------------------------------------------------------------------------
    def begin(self, turn: Turn, refusal: tuple[int, str] | None) -> None:
        """Start a turn; `refusal` is the code and reason of a turn that fails at once."""
        self.counts.turns += 1
        self.turns[turn.ask.request_id] = turn
        self.log.write(f"Async chat, request id: {turn.ask.request_id}")
        if self.counts.turns == self.controls.service.crash_on_turn:
            turn.faults |= {"crash"}
        turn.job = self.wheel.start(turn.refusal(*refusal) if refusal else turn.steps())
        if "cut_long" in turn.faults and len(turn.ask.prompt) > turn.knobs.cut_above:
            self.loop.call_later(turn.knobs.cut_ms / 1000, self._cut, turn)

    def _cut(self, turn: Turn) -> None:
        if not turn.over:
            self.wheel.replace(turn.job, turn.cut())

    def cancel(self, turn: Turn) -> None:
        """End a turn as chat/stop does."""
        if not turn.over:
            self.wheel.replace(turn.job, turn.cancellation())

    def turn_over(self, turn: Turn) -> None:
        """Forget a turn."""
        if self.turns.get(turn.ask.request_id) is turn:
            del self.turns[turn.ask.request_id]

    def report(self) -> dict[str, Any]:
        """The result of `simulator/report`, a method of the simulator's own."""
        pending = sum(len(peer.pending) for peer in self.peers)
        return {**msgspec.to_builtins(self.counts), "running": len(self.turns), "pending": pending}


async def serve(root: Path, controls: Controls, *, port: int, http_port: int) -> int:
    """Run until a signal; the exit code."""
    service = Service(root, controls)
    try:
        await service.open(port, http_port)
    except OSError as exc:
        sys.stderr.write(f"cannot listen: {exc}\n")
        return 1
    await service.stopped.wait()
    await service.close()
    return service.exit_code

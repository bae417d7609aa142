"""The service as one process: it listens, follows its control file, and stops at a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bridge.simulator.faults.framing_faults import framing
from bridge.simulator.listeners import Listeners
from bridge.simulator.methods import table
from bridge.simulator.options.controls import Controls
from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.service_options import ServiceOptions
from bridge.simulator.process.context import Context
from bridge.simulator.protocol.clients import Clients
from bridge.simulator.protocol.messages import Message
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.protocol.push_framing import Framing
from bridge.simulator.state.service_state import ServiceState


class Service:
    """One simulated service: its state, its listeners and its timers, on one work directory."""

    def __init__(self, root: Path, controls: Controls) -> None:
        self.controls = controls
        self.context = Context(root, controls)
        self.state = ServiceState(self.context, Clients(self.context, self._call, self._framing), self.stop)
        self.listeners = Listeners(self.state)
        self.stopped = asyncio.Event()
        self.exit_code = 0

    def _call(self, peer: Peer, message: Message) -> None:
        self._poll_controls()  # what a test writes before it asks is in force
        table.call(self.state, peer, message)

    def _framing(self, websocket: bool) -> Framing:
        return framing(self.controls.turn, websocket=websocket)

    async def open(self, port: int, http_port: int) -> None:
        """Listen, name the ports, and be ready. Raise OSError when a port is taken."""
        # Before the first client: nobody is there yet to get the pushes of a login.
        self.state.login.watch_expiry()
        self.state.login.follow_controls("")
        await self.listeners.open(port, http_port)
        self._start_chores()  # from the last line below on, signals must be handled
        self.listeners.log_ready()

    def _start_chores(self) -> None:
        options = self.controls.service
        self._repeat(options.info_every_sec, self.listeners.write_info)
        # Also by time, since a change may have to push something while no client sends anything.
        self._repeat(0.25, self._poll_controls)
        self._repeat(0.1, self.state.clients.expire)
        self._repeat(0.25, self.state.login.watch_expiry)
        if options.rewrite_user_ms:
            self._repeat(options.rewrite_user_ms / 1000, self.state.login.account.save)
        if options.exit_after_sec:
            self.context.loop.call_later(options.exit_after_sec, self.stop, options.exit_code)
        for number, ignored in ((signal.SIGINT, options.ignore_sigint), (signal.SIGTERM, options.ignore_sigterm)):
            # The handlers of the loop, not of `signal`: a Python handler may run in the middle of any step.
            self.context.loop.add_signal_handler(number, self._ignore if ignored else self._stop_soon)

    def _repeat(self, seconds: float, act: Callable[[], None]) -> None:
        def again() -> None:
            try:
                act()
            except OSError as exc:
                # A full disk, or a work directory that is away: it may be there again the next time.
                self.context.log.write(f"work directory: {exc}")
            self.context.loop.call_later(seconds, again)

        self.context.loop.call_later(seconds, again)

    def _ignore(self) -> None:
        self.context.log.write("signal ignored")

    def _stop_soon(self) -> None:
        self.context.loop.call_later(self.controls.service.stop_delay_ms / 1000, self.stop)

    def stop(self, code: int = 0) -> None:
        """Make `serve` end with this exit code."""
        self.exit_code = code
        self.stopped.set()

    async def close(self) -> None:
        """Close the listeners and every connection."""
        self.listeners.close()
        self.state.clients.close()
        # One pass of the loop, so that the closing frames are written before the process ends.
        await asyncio.sleep(0)
        self.listeners.remove_socket()

    def _poll_controls(self) -> None:
        """Apply the control file if it has changed."""
        before = self.controls.service
        try:
            if not self.controls.refresh():
                return
        except OptionError as exc:
            # A bad file stops nothing: the options of before stay in force.
            self.context.log.write(f"control file: {exc}")
            return
        self._follow_controls(before, self.controls.service)

    def _follow_controls(self, before: ServiceOptions, now: ServiceOptions) -> None:
        self.state.login.follow_controls(before.login)
        if now.models != before.models:
            self.state.models.change(now.models)
        self.context.follow_controls()
        # At once, not at the next rewrite: a test waits for the wrong port.
        if (now.info_port, now.info_stale) != (before.info_port, before.info_stale):
            self.listeners.write_info()
        self.state.clients.follow_controls(kicked=now.kick != before.kick)


async def serve(root: Path, controls: Controls, *, port: int, http_port: int) -> int:
    """Run until a signal or an `exit` request; return the exit code."""
    service = Service(root, controls)
    try:
        await service.open(port, http_port)
    except OSError as exc:
        sys.stderr.write(f"cannot listen: {exc}\n")
        return 1
    await service.stopped.wait()
    await service.close()
    return service.exit_code

"""What every part of one process uses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bridge.simulator.options.controls import Controls
from bridge.simulator.process.counts import Counts
from bridge.simulator.process.ids_and_clock import IdsAndClock
from bridge.simulator.process.recorder import Recorder
from bridge.simulator.process.service_log import ServiceLog
from bridge.simulator.process.timer_wheel import TimerWheel


class Context:
    """One process on one work directory, within a running loop. `recorder` is None while nothing is recorded."""

    def __init__(self, root: Path, controls: Controls) -> None:
        options = controls.service
        self.root, self.controls = root, controls
        self.loop = asyncio.get_running_loop()
        self.wheel = TimerWheel(self.loop)
        self.ids = IdsAndClock(options.seed)
        self.log = ServiceLog(root, options.log_max_bytes)
        self.counts = Counts()
        self.recorder: Recorder | None = None
        self.follow_controls()

    def follow_controls(self) -> None:
        """Record from now on, if that is wanted."""
        if self.controls.service.record and not self.recorder:
            self.recorder = Recorder(self.root)

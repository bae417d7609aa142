"""How the layers add up, and which the next turn gets."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.layers import (
    SERVICE_NAMES,
    TURN_NAMES,
    Layer,
    from_environment,
    service_options,
    set_by_faults,
    turn_options,
)
from bridge.simulator.options.turn_options import TurnOptions

CONTROL_FILE = "simulator.json"


class Controls:
    """The layers below a marker: environment, script file, flags, and the control file, re-read when it changed."""

    def __init__(self, work_dir: Path, flags: Layer, script: Path | None = None) -> None:
        self.path = work_dir / CONTROL_FILE
        # The order is the precedence: what stands later wins.
        self._base = {**from_environment(os.environ), **(_read(script) if script else {}), **flags}
        self._seen: tuple[int, int] | None = None
        self._queue: list[Layer] = []
        self._adopt(self._base)

    def _adopt(self, layer: Layer) -> None:
        self.layer = layer
        self.service = service_options({**set_by_faults(layer), **layer})
        self.turn = turn_options(layer)
        # A new file replaces what is left of the old queue.
        self._queue = [dict(item) for item in layer.get("turns", [])]

    def refresh(self) -> bool:
        """Read the control file again if it has changed; True if it had."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return False
        # Size and time: two writes within the clock's resolution have at least another size, mostly.
        if (seen := (stat.st_mtime_ns, stat.st_size)) == self._seen:
            return False
        # Before the file is read: a bad one is reported once and not at every look.
        self._seen = seen
        self._adopt({**self._base, **_read(self.path)})
        return True

    def for_turn(self, marker: Layer) -> TurnOptions:
        """The options of the next turn: a marker beats the next entry of `turns`, and that the rest."""
        scripted = self._queue.pop(0) if self._queue else {}
        if not (scripted or marker):
            return self.turn
        if set_by_faults(marker):
            # It would stay after the turn, and the next ones would fail for no visible reason.
            raise OptionError(f"a fault of the process cannot be set for one turn: {marker['fault']}")
        own = {**scripted, **marker}
        if "plan" not in own and own.keys() & {"text", "echo", "chunks"}:
            own["plan"] = ""  # what is wanted of this very turn beats a plan for all
        return turn_options({**self.layer, **own})


def _read(path: Path) -> Layer:
    for _ in range(5):
        try:
            layer = json.loads(path.read_bytes())
            break
        except ValueError:
            time.sleep(0.02)  # caught in the middle of being written
        except OSError as exc:
            raise OptionError(f"{path} cannot be read: {exc.strerror}") from None
    else:
        raise OptionError(f"{path} is not valid JSON")
    if not isinstance(layer, dict):
        raise OptionError(f"{path} must hold a JSON object")
    unknown = set(layer) - SERVICE_NAMES - TURN_NAMES - {"turns"}
    if unknown:
        raise OptionError(f"{path}: no such option: {', '.join(sorted(unknown))}")
    _check_turns(path, layer.get("turns", []))
    return layer


def _check_turns(path: Path, turns: Any) -> None:
    """Now, and not when their turn comes: there a name that nobody knows would be passed over."""
    if not isinstance(turns, list) or not all(isinstance(each, dict) for each in turns):
        raise OptionError(f"{path}: turns is a list of objects")
    if unknown := {name for each in turns for name in each} - TURN_NAMES:
        raise OptionError(f"{path}: turns: no such option: {', '.join(sorted(unknown))}")

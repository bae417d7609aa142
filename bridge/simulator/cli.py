"""The command line of the Lingma executable, and the help of the simulator."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bridge.simulator.options import fault_names
from bridge.simulator.options.controls import Controls
from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.layers import SERVICE_NAMES, TURN_NAMES, described
from bridge.simulator.process import work_dir
from bridge.simulator.process.ids_and_clock import IdsAndClock
from bridge.simulator.state.account import read_user

USAGE = """\
A stand-in for the Lingma executable: it speaks the same local protocol, and no model is asked.

  start [flags]                        run the service in the foreground
  version                              print the version
  status [-o json] [--workDir <dir>]   print who is logged in
  machine-info                         print the machine token

Flags of start (both --key=value and --key value; unknown ones are ignored):
  --workDir <dir>          root of all state, default ~/.lingma
  --socketPort <port>      WebSocket port, default 37010, 0 takes a free one
  --httpPort <port>        HTTP port, default 37510, 0 takes a free one
  --transportType, --endpoint, --copyDataDir, --startupId   as the executable has them
  --script <file>          a JSON object of options

Every option below is also a flag (--start-delay-ms=500), an environment variable
(LINGMA_SIMULATOR_START_DELAY_MS=500), and a key of the control file <workDir>/simulator.json, a JSON object
which is re-read when it changes. There, "turns" is a list of objects with options for the next turns, one each.
The later wins: environment, --script, flags, control file, entry of "turns", marker.

A marker in the prompt sets the options of that turn: [[sim: key=value key="quoted \\"value\\"" key]]. A key alone
means true. The last marker of the prompt counts, and none is echoed. An unknown key finishes the turn with 400.
  [[sim: text="Hello" size=2 delay_ms=20 first_ms=0]]
  [[sim: chunks=50 delay_ms=0 fault=F1 after=3]]
  [[sim: finish=429]]   [[sim: echo=history]]   [[sim: fault=foreign_finish,late_answer]]
"""
DEFAULT_PORT, DEFAULT_HTTP_PORT, LAST_PORT = 37010, 37510, 65535


class Arguments(NamedTuple):
    """A command and its flags, whose names are bare (see `parse`)."""

    command: str
    flags: dict[str, str]


def parse(argv: list[str]) -> Arguments:
    """Names in lower case without dashes and underscores, so that --workDir and --start-delay-ms are found alike."""
    command, flags, rest = "", {}, list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            command = command or word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            # A flag without a value is a switch: the executable takes both spellings.
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        flags[_bare(name)] = value
    return Arguments(command, flags)


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def main(argv: list[str]) -> int:
    """Run a command of the executable; the exit code."""
    command, flags = parse(argv)
    # Exit code 2 without any argument, as of a command that was called wrongly.
    if command in ("", "help") or "help" in flags or "h" in flags:
        print(help_text())  # noqa: T201
        return 0 if command or flags else 2
    if command not in COMMANDS:
        sys.stderr.write(f"unknown command: {command}\n")
        return 2
    try:
        return COMMANDS[command](flags)
    except OptionError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    except OSError as exc:  # a work directory that cannot be made or read
        sys.stderr.write(f"{exc}\n")
        return 1


def help_text() -> str:
    """What --help prints, made from the options themselves."""
    lines = [USAGE]
    for kind, title in (("service", "Options of the process"), ("turn", "Options of a turn (a marker may set these)")):
        lines.append(f"{title}:")
        lines += [
            f"  {name:<18} {meaning} [{default}]" for kinds, name, default, meaning in described() if kinds == kind
        ]
        lines.append("")
    numbered = "  ".join(f"{number}={name}" for number, name in fault_names.NAMES.items())
    return "\n".join([*lines, f"Faults: {numbered}"])


def _root(flags: dict[str, str]) -> Path:
    return Path(flags.get("workdir") or Path.home() / ".lingma").expanduser().absolute()


def _controls(flags: dict[str, str]) -> Controls:
    # Unknown flags are left out: newer plugins start the executable with flags of their own.
    names = {_bare(name): name for name in SERVICE_NAMES | TURN_NAMES}
    layer = {names[flag]: value for flag, value in flags.items() if flag in names}
    script = flags.get("script")
    controls = Controls(_root(flags), layer, Path(script) if script else None)
    controls.refresh()
    # Checked at the start, so that a typo fails here and not in the first turn.
    fault_names.named(controls.turn.fault)
    return controls


def _version(flags: dict[str, str]) -> int:
    print(f"version: {_controls(flags).service.version_string}")  # noqa: T201
    return 0


def _status(flags: dict[str, str]) -> int:
    user, _ = read_user(_root(flags))
    # Read from the files: the command works whether or not a service runs.
    account = {"username": user.name, "user_type": "personal_standard"} if user else {}
    state = {"logged_in": bool(user), **account, "version": _controls(flags).service.version_string}
    as_json = json.dumps(state, separators=(",", ":"))
    plain = "\n".join(f"{key}: {value}" for key, value in state.items())
    print(as_json if flags.get("o") == "json" else plain)  # noqa: T201
    return 0


def _machine_info(flags: dict[str, str]) -> int:
    print(f"machineToken: {IdsAndClock().hex()}\nmachineType: {socket.gethostname()}")  # noqa: T201
    return 0


def _start(flags: dict[str, str]) -> int:
    root, controls = _root(flags), _controls(flags)
    settings = controls.service
    # Before anything listens, so that a client sees a program that is slow to start.
    time.sleep(settings.start_delay_ms / 1000)
    if settings.start_fails:
        sys.stderr.write("simulated start failure\n")
        return settings.exit_code
    ports = [_port(flags.get(name) or str(default)) for name, default in PORTS]
    work_dir.lay_out(root)
    return _run(root, controls, *ports)


def _port(text: str) -> int:
    """Checked here: the loop would take what is left of a larger number."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > LAST_PORT:
        raise OptionError(f"{text} is no port from 0 to {LAST_PORT}")
    return int(text)


def _run(root: Path, controls: Controls, port: int, http_port: int) -> int:
    import uvloop  # here, so that the other commands stay quick

    from bridge.simulator.service import serve

    # uvloop, as load tests need far more chunks a second from here than from the gateway they measure.
    code = uvloop.run(serve(root, controls, port=port, http_port=http_port))
    sys.stdout.flush()
    # A second signal between here and the exit would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os._exit(code)  # turns that are resting must not keep a stopped service alive


PORTS = (("socketport", DEFAULT_PORT), ("httpport", DEFAULT_HTTP_PORT))
COMMANDS = {"start": _start, "version": _version, "status": _status, "machine-info": _machine_info}

"""Which program Lingma is here: the executable, or the simulator where none is set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bridge.lingma.errors import StartFailed
from bridge.lingma.install import vsix

if TYPE_CHECKING:
    from gateway_project.env import Environment


class Program(msgspec.Struct, frozen=True):
    """What is started as a service, and the variables it needs beside those every program gets."""

    upstream: Literal["lingma", "simulator"]
    command: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}


def program(env: Environment, data_dir: Path) -> Program:
    """Raise VsixError when nothing was unpacked yet, StartFailed when there are only services to attach to."""
    if env.upstream == "simulator":
        source = Path(__file__).resolve().parents[1]
        return Program("simulator", (sys.executable, "-m", "bridge.simulator"), environment={"PYTHONPATH": str(source)})
    endpoint = (f"--endpoint={env.dedicated_domain_url}",) if env.dedicated_domain_url else ()
    if env.upstream == "attached" and not env.lingma_bin:
        raise StartFailed("services that are attached to are started elsewhere")
    path = str(vsix.find(data_dir / "binaries")) if env.takes_vsix else env.lingma_bin
    return Program("lingma", (path,), endpoint)

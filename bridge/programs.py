"""Which program Lingma is here: the executable, or the simulator where none is set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bridge.lingma.errors import StartFailed
from bridge.lingma.install import vsix
from bridge.status.versions import WantedVersion

if TYPE_CHECKING:
    from gateway_project.env import Environment


class Program(msgspec.Struct, frozen=True):
    """What is started as a service, and the variables it needs beside those every program gets."""

    upstream: Literal["lingma", "simulator"]
    command: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    version: str = ""
    """As it was installed; "": not known."""
    sha256: str = ""
    """Of the executable; "": not known."""


def of_version(env: Environment, data_dir: Path, wanted: WantedVersion) -> Program:
    """Of a version that was installed."""
    path = str(data_dir / "binaries" / wanted.executable)
    return Program("lingma", (path,), _endpoint(env), version=wanted.version, sha256=wanted.sha256)


def program(env: Environment, data_dir: Path) -> Program:
    """Raise VsixError when nothing was unpacked yet, StartFailed when there are only services to attach to."""
    if env.upstream == "simulator":
        source = Path(__file__).resolve().parents[1]
        return Program("simulator", (sys.executable, "-m", "bridge.simulator"), environment={"PYTHONPATH": str(source)})
    endpoint = _endpoint(env)
    if env.upstream == "attached" and not env.lingma_bin:
        raise StartFailed("services that are attached to are started elsewhere")
    if not env.takes_vsix:
        return Program("lingma", (env.lingma_bin,), endpoint)
    found = vsix.last(data_dir / "binaries")
    path = str(data_dir / "binaries" / found.executable)
    return Program("lingma", (path,), endpoint, version=found.version, sha256=found.sha256)


def _endpoint(env: Environment) -> tuple[str, ...]:
    return (f"--endpoint={env.dedicated_domain_url}",) if env.dedicated_domain_url else ()

"""The work directory: its tree, `.info.json` and the service log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDERS = ("cache/db", "cache/ai_tracker", "extension/local", "extension/server", "index", "logs", "model")
FILES: Mapping[str, dict[str, Any]] = {
    "cache/app-config.json": {"proxyMode": "system", "httpProxy": ""},
    "cache/config.json": {},
    "extension/local/config.json": {},
    "extension/local/mcp.json": {"mcpServers": {}, "userConfigMD5": ""},
    "extension/server/config.json": {},
    "lingma_mcp.json": {"mcpServers": {}},
}


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def lay_out(root: Path) -> None:
    """Make the folders and the files a new work directory has."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        if not (root / name).exists():
            replace(root / name, json.dumps(content))


def write_info(root: Path, *, port: int, pid: int, ipc: Path | None) -> None:
    """Write `.info.json`."""
    info: dict[str, Any] = {"websocketPort": port, "pid": pid, "isDev": False}
    if ipc:
        info["ipcServerPath"] = str(ipc)
    replace(root / ".info.json", json.dumps(info))


class ServiceLog:
    """`logs/lingma.log`; a line is on disk when `write` returns, because clients read usage from here.

    A line that the disk does not take is lost, and nothing else is.
    """

    def __init__(self, root: Path, max_bytes: int = 0) -> None:
        self.path = root / "logs" / "lingma.log"
        self.max_bytes = max_bytes
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._size = self.path.stat().st_size

    def write(self, line: str) -> None:
        """Append one line."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        data = f"{stamp} [INFO] {line}\n".encode("utf-8", "replace")
        with suppress(OSError):
            self._size += self._file.write(data)
        if 0 < self.max_bytes <= self._size:
            self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        self.path.rename(self.path.with_name(f"lingma-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9}.log"))
        self._open()

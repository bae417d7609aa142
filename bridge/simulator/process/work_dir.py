"""The work directory: its tree, and `.info.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
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
    # In the same directory, since a rename is atomic only within one file system.
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def lay_out(root: Path) -> None:
    """Make the folders and the files a new work directory has."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        # A copied work directory keeps what is in it.
        if not (root / name).exists():
            replace(root / name, json.dumps(content))


def write_info(root: Path, *, port: int, pid: int, ipc: Path | None) -> None:
    """Write `.info.json`, by which clients find the ports (PROTOCOL 2.3)."""
    info: dict[str, Any] = {"websocketPort": port, "pid": pid, "isDev": False}
    if ipc:
        info["ipcServerPath"] = str(ipc)
    replace(root / ".info.json", json.dumps(info))

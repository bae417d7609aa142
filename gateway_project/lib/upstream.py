"""What answers the chats of this process, for the pages that it serves: installed versions may change it."""

from __future__ import annotations

_running = ""


def set_running(kind: str) -> None:
    """`lingma`, `simulator` or `attached`; several, with a slash between them, while they change places."""
    global _running  # noqa: PLW0603 - one of a process
    _running = kind


def shown(by_settings: str) -> str:
    """The kind to show: what runs; where nothing does yet, what the settings say."""
    return (_running or by_settings).partition("/")[0]

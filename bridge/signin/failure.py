"""How an attempt fails."""

from __future__ import annotations

from bridge.status.attempts import AttemptResult


class AttemptFailed(Exception):
    """The result says why; `detail` is in the words of whoever said it, and has no secret."""

    def __init__(self, result: AttemptResult, detail: str = "", screenshot: bytes = b"") -> None:
        super().__init__(f"{result.label}: {detail}" if detail else result.label)
        self.result = result
        self.detail = detail
        self.screenshot = screenshot
        self.password_sent = False
        """The page has had the stored password before."""

"""Chat sessions and their records, as the service keeps them in memory and, if that is wanted, on disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

LIMIT = 5000


class PlanState(msgspec.Struct):
    """How far the plan of a session is: the delimiter of its calls, the plan, and how far it is."""

    delimiter_id: str = ""
    plan: str = ""
    failed: list[bool] = []
    """One for each result that came, in their order."""
    last_result: str = ""
    steps_written: list[int] = []
    attempts: dict[int, int] = {}


class Record(msgspec.Struct):
    """One question and its answer; times in Unix ms."""

    request_id: str
    question: str
    answer: str
    reasoning: str
    created: int
    modified: int


class Session(msgspec.Struct):
    """A conversation; `tokens` counts what its records hold."""

    session_id: str
    title: str
    created: int
    modified: int
    tokens: int = 0
    records: list[Record] = []
    plan_state: PlanState = msgspec.field(default_factory=PlanState)

    def shown(self, *, full: bool) -> dict[str, Any]:
        """The session object of the protocol, with its records or without."""
        return {
            "sessionId": self.session_id, "sessionTitle": self.title, "sessionType": "ASSISTANT", "userId": "",
            "userName": "", "projectId": "", "projectUri": "file:///workspace", "projectName": "workspace",
            "gmtCreate": self.created, "gmtModified": self.modified,
            "chatRecords": [self._record(record) for record in self.records] if full else [],
        }  # fmt: skip

    def _record(self, record: Record) -> dict[str, Any]:
        return {
            "requestId": record.request_id, "sessionId": self.session_id, "chatTask": "FREE_INPUT",
            "chatContext": msgspec.json.encode({"text": record.question}).decode(), "question": record.question,
            "answer": record.answer, "extra": "", "likeStatus": 0, "gmtCreate": record.created,
            "gmtModified": record.modified, "filterStatus": "", "sessionType": "ASSISTANT", "summary": "",
            "intentionType": "", "reasoningContent": record.reasoning, "finishStatus": 0,
        }  # fmt: skip


class Sessions:
    """Known sessions by id, the oldest dropped beyond a limit."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.by_id: dict[str, Session] = {}
        if path and path.exists():
            stored = msgspec.json.decode(path.read_bytes(), type=list[Session])
            self.by_id = {session.session_id: session for session in stored}

    def open(self, session_id: str, now: int) -> Session:
        """The session of that id, made when unknown."""
        session = self.by_id.get(session_id)
        if session is None:
            session = self.by_id[session_id] = Session(session_id, "", now, now)
            if len(self.by_id) > LIMIT:
                # A dict keeps the order of insertion, so the first is the oldest.
                del self.by_id[next(iter(self.by_id))]
        return session

    def save(self) -> None:
        """Write everything to disk, if that is wanted."""
        if self._path:
            with suppress(OSError):  # a full disk ends no chat
                # All of it at every turn: the option is for short tests over a restart.
                self._path.write_bytes(msgspec.json.encode(list(self.by_id.values())))

    def forget(self, session_id: str, request_id: str | None = None) -> None:
        """Drop a session, or one record of it."""
        if request_id is None:
            self.by_id.pop(session_id, None)
        elif session := self.by_id.get(session_id):
            session.records = [record for record in session.records if record.request_id != request_id]
        self.save()

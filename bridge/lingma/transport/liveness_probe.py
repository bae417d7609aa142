"""A silent service is hung or only thinks: pings such as it has answered before decide (PROTOCOL 6.3)."""

from __future__ import annotations

from typing import Final, Literal

BEAT_SEC: Final = 0.5
QUIET: Final = 4  # beats of silence before a sign of life is asked for
QUIET_BUSY: Final = 1  # ... while somebody waits for a reply
ANSWER: Final = 10  # beats that a service has for it
ANSWER_BUSY: Final = 60  # ... when turns are under way, and it never has answered then
AGAIN: Final = 20  # beats before one that has answered nothing is asked again

Ping = Literal["frame", "request"]
Verdict = Literal["well", "ask", "hung"]


class LivenessProbe:
    """One connection. `beat()` every BEAT_SEC; `answered()` when a ping is.

    Beats are counted and no clock is read: a gateway that was itself stopped, or busy, judges nobody by that time.
    Whatever arrives is a sign of life. A service is judged only by what it has been seen to answer: frames that are
    read beside its work at any time, requests at first only while there is no turn that may keep it from them.
    """

    def __init__(self) -> None:
        self._silent = 0
        self._waited: int | None = None  # beats ago
        self._answers: set[Ping] = set()
        self._answers_busy = False
        self._busy = False

    @property
    def pings(self) -> tuple[Ping, ...]:
        """The pings to send when it says "ask": the frame alone where that is answered, else both."""
        return ("frame",) if "frame" in self._answers else ("frame", "request")

    def answered(self, ping: Ping) -> None:
        self._answers.add(ping)
        # A service that answered a request during a turn once may be judged by requests during turns.
        self._answers_busy = self._answers_busy or self._busy

    def beat(self, *, alive: bool, busy: bool) -> Verdict:
        """The verdict of this beat: all is "well", "ask" it with `pings`, or it is "hung".

        `alive` is whether anything came since the last beat, `busy` whether turns are under way.
        """
        self._busy = busy
        if alive:
            self._silent, self._waited = 0, None
            return "well"
        self._silent += 1
        if self._waited is None:
            return self._ask() if self._silent >= (QUIET_BUSY if busy else QUIET) else "well"
        self._waited += 1
        patience = self._patience()
        # It has never answered anything: silence proves nothing, so it is only asked again.
        if patience is None:
            return self._ask() if self._waited >= AGAIN else "well"
        return "hung" if self._waited >= patience else "well"

    def _ask(self) -> Verdict:
        self._waited = 0
        return "ask"

    def _patience(self) -> int | None:
        if not self._answers:
            return None
        # A service may answer requests one after the other. During a turn such an answer may wait for the model.
        return ANSWER if "frame" in self._answers or self._answers_busy or not self._busy else ANSWER_BUSY

"""The text of a chunk: 20 bytes that carry the moment they were sent, and the scenario a question carries."""

import re

MARK = b"~"  # stands nowhere else in an answer, so counting it counts chunks
STAMP_DIGITS = 18  # of monotonic nanoseconds; with the mark before and a blank after: 20 bytes

_SCENARIO = re.compile(rb"bench chunks=(\d{1,6}) interval_ms=(\d{1,5})")


def question(chunks, interval_ms):
    """The prompt that asks the source for `chunks` chunks, one every `interval_ms` (0: all at once)."""
    return f"bench chunks={chunks} interval_ms={interval_ms}"


def scenario(body):
    """(chunks, interval in ms) that a request body asks for; one chunk at once when it does not say."""
    found = _SCENARIO.search(body)
    return (int(found[1]), int(found[2])) if found else (1, 0)


class StampReader:
    """Finds the stamps in an answer that arrives in pieces, cut anywhere."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        """Send times, in ns, of the chunks that are complete now."""
        if self.rest:
            data = self.rest + data
            self.rest = b""
        stamps = []
        at = data.find(MARK)
        while at >= 0:
            end = at + 1 + STAMP_DIGITS
            if end > len(data):
                self.rest = data[at:]
                break
            stamps.append(int(data[at + 1 : end]))
            at = data.find(MARK, end)
        return stamps

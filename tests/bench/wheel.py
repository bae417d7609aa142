"""One timer for all streams: everything due in a tick is handed over in that tick."""

TICK_MS = 1


class Wheel:
    """Calls `stream.due()` when its time has come; `due` gives the ms until the next call, or 0 when it has ended."""

    def __init__(self, loop, after_tick):
        self.loop = loop
        self.after_tick = after_tick
        self.slots = {}
        self.turned_to = 0
        self.running = False

    def now(self):
        return int(self.loop.time() * 1000)

    def add(self, stream, delay_ms):
        if not self.running:
            self.running = True
            self.turned_to = self.now()
            self.loop.call_later(TICK_MS / 1000, self._tick)
        slot = max(self.now() + delay_ms, self.turned_to + 1)
        self.slots.setdefault(slot, []).append(stream)

    def _tick(self):
        now = self.now()
        for slot in range(self.turned_to + 1, now + 1):
            for stream in self.slots.pop(slot, ()):
                again = stream.due()
                if again:  # counted from the slot, so that a late tick does not slow a stream down
                    self.slots.setdefault(max(slot + again, now + 1), []).append(stream)
        self.turned_to = now
        self.after_tick()
        self.running = bool(self.slots)
        if self.running:
            self.loop.call_later(TICK_MS / 1000, self._tick)

import asyncio

from gateway_project.lib.ticker import Pulse


class Seen:
    def __init__(self, pulse, beats):
        self.pulse, self.left, self.done = pulse, beats, asyncio.Event()

    def look(self, now):
        self.left -= 1
        if not self.left:
            self.pulse.remove(self)
            self.done.set()


async def test_ticker_calls_what_was_added_until_removed():
    pulse = Pulse(0.001)
    seen = [Seen(pulse, beats) for beats in (1, 3, 5)]
    for each in seen:
        pulse.add(each)
    await asyncio.gather(*(each.done.wait() for each in seen))
    assert [each.left for each in seen] == [0, 0, 0]


async def test_ticker_rests_while_empty():
    pulse = Pulse(0.001)
    for _ in range(2):
        seen = Seen(pulse, 1)
        pulse.add(seen)
        await seen.done.wait()
        pulse.remove(seen)  # a second time does nothing
    assert seen.left == 0

import asyncio

from gateway_project.lib.ticker import Ticker


class Seen:
    def __init__(self, ticker, beats):
        self.ticker, self.left, self.done = ticker, beats, asyncio.Event()

    def tick(self, now):
        self.left -= 1
        if not self.left:
            self.ticker.remove(self)
            self.done.set()


async def test_ticker_calls_what_was_added_until_removed():
    ticker = Ticker(0.001)
    seen = [Seen(ticker, beats) for beats in (1, 3, 5)]
    for each in seen:
        ticker.add(each)
    await asyncio.gather(*(each.done.wait() for each in seen))
    assert [each.left for each in seen] == [0, 0, 0]


async def test_ticker_rests_while_empty():
    ticker = Ticker(0.001)
    for _ in range(2):
        seen = Seen(ticker, 1)
        ticker.add(seen)
        await seen.done.wait()
        ticker.remove(seen)  # a second time does nothing
    assert seen.left == 0


async def test_tick_that_fails_stops_no_other(caplog):
    class Broken:
        def tick(self, now):
            raise RecursionError("too deep")

    ticker, broken = Ticker(0.001), Broken()
    ticker.add(broken)
    for beats in (3, 2):  # the second one is added when the first has failed already
        ticker.add(seen := Seen(ticker, beats))
        async with asyncio.timeout(30):
            await seen.done.wait()
    ticker.remove(broken)
    assert "a tick of Broken failed" in caplog.text

"""Clients that ask without a pause while something happens to a gateway."""

import threading


class Clients:
    """So many at once, as a context: each runs `ask(number)`, which returns once `ends` is set."""

    def __init__(self, count):
        self.ends = threading.Event()
        self._threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for thread in self._threads:
            thread.join(90)

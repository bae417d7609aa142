"""The cases, one line each. A new case is a new line here; what to print of it stands in `report`."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Case:
    """One load: `clients` keep-alive connections, each asking again as soon as its answer has ended.

    Arrivals are spread over `spread` s; the figures are those of `window` s that begin `warm` s after the start.
    """

    name: str
    clients: int
    chunks: int
    interval_ms: int = 0
    streamed: bool = True
    spread: float = 0.0
    warm: float = 0.5
    window: float = 2.0
    warm_requests: int = 0  # that must have been answered, too, before the window begins
    least: int = 0  # requests that the window waits for, when it would see fewer
    timed: bool = True  # read the time stamp of every chunk
    passes: int = 99
    path: str = "/v1/chat/completions"
    model: str = "org_auto"
    tools: int = 0  # declared by the request
    history_kb: int = 0  # of earlier calls and results
    images: int = 0
    keys: int = 0  # that take turns; 0: the one that every gateway has
    limited: bool = False  # by a key that has limits, as has its team; another checkout is asked without
    only: tuple[str, ...] = ()  # the targets it says something about; empty: all

    @property
    def chunks_per_second(self):
        """What the source sends when nothing holds it up; 0 when it has no pace."""
        return self.clients * 1000 / self.interval_ms if self.interval_ms else 0


OURS = ("ours",)
NO_BARE = ("none", "ours")
NO_LITELLM = ("none", "bare", "ours")
CASES = (
    # First, while nobody has been asked anything: what the processes take when they only wait.
    Case("idle", 0, 1, warm=1.0, window=4.0, passes=1),
    # LiteLLM takes its time: with fewer requests there would be no figure.
    Case("request", 20, 1, warm_requests=20, least=50),
    Case("plain", 20, 1, streamed=False, warm_requests=20, least=50),
    # Behind "plain", whose figure it is compared with: what else the machine does is the same.
    Case("limited", 20, 1, streamed=False, limited=True, passes=3, only=OURS),
    # after some requests, so that what is made on first use does not count as memory of a stream
    Case("memory", 500, 30, 100, spread=1.0, warm=2.0, window=0.5, timed=False, passes=1, only=NO_LITELLM),
    Case("flood", 50, 200, timed=False, only=NO_LITELLM),
    Case("flood_tools", 50, 200, timed=False, tools=20, passes=2, only=OURS),
    # Windows of whole streams: every client begins and ends the same number of answers in them. The spread keeps the
    # streams out of step, so that they never share system calls by chance.
    Case("apart", 50, 100, 20, spread=1.02, warm=1.3, window=4.04, only=NO_LITELLM),
    Case("apart_tools", 50, 100, 20, spread=1.02, warm=1.3, window=4.04, passes=2, tools=20, only=OURS),
    Case("crowd", 500, 100, 20, spread=1.8, warm=2.2, window=2.02, only=NO_LITELLM),
    Case("thousand", 1000, 100, 20, spread=1.8, warm=2.2, window=2.02, passes=3, only=NO_BARE),
    Case("agent", 4, 1, tools=20, history_kb=500, passes=2, only=OURS),
    Case("single", 1, 400, 5, warm=0.2, window=2.0, passes=0, only=NO_LITELLM),  # only when asked for by name
)


def quick(case):
    """The same load, shorter."""
    if not case.clients:
        return replace(case, warm=0.2, window=1.0)
    if case.interval_ms:
        return replace(case, chunks=min(case.chunks, 50), window=min(case.window, 1.02))
    return replace(case, warm=0.3, window=0.7)

"""Figures of a run: each is a function of what `runs.measure` gives; None where the run says nothing about it."""

from tests.bench.runs import OUTSIDE

MIB, KIB = 1 << 20, 1 << 10


def web_per(unit):
    """CPU µs of what serves, per request or chunk."""
    return lambda run: run["cpu"]["web"] / run[unit] * 1e6 if run[unit] else None


def all_per(unit):
    """CPU µs of all processes that belong to the gateway, per request or chunk."""

    def figure(run):
        if unit == "requests" and run["filed"]:
            return web_per(unit)(run) + total(run["until_filed"], {*OUTSIDE, "web"}) / run["filed"] * 1e6
        return total(run["cpu"], OUTSIDE) / run[unit] * 1e6 if run[unit] else None

    return figure


def total(values, but):
    """The sum over the parts, without some of them."""
    return sum(value for part, value in values.items() if part not in but)


def behind_per_row(part):
    """CPU µs that a part behind the web process spends on each turn, until it is filed."""
    return lambda run: run["until_filed"].get(part, 0) / run["filed"] * 1e6 if run["filed"] else None


def per_second(unit):
    return lambda run: run[unit] / run["seconds"]


def cores(part):
    return lambda run: run["cpu"].get(part, 0) / run["seconds"]


def all_cores(run):
    return total(run["cpu"], OUTSIDE) / run["seconds"]


def spent_per_chunk(part):
    return lambda run: run["cpu"].get(part, 0) / run["chunks"] * 1e6 if run["chunks"] else None


def latency(kind, quantile):
    return lambda run: run[kind][quantile] if run[kind] else None


def all_mib(kind, when="at_rest"):
    """Memory of all processes; of `none`, which has none, that of the source."""
    return lambda run: (total(run[kind][when], OUTSIDE)) / MIB


def web_mib(run):
    return run["rss"]["at_rest"]["web"] / MIB


def stream_kib(run):
    grown = run["rss"]["loaded"]["web"] - run["rss"]["at_rest"]["web"]
    return grown / run["open_streams"] / KIB if run["open_streams"] else None


def peak_mib(run):
    """The most that the web processes had resident, above what they had before."""
    return (run["peak"]["web"] - run["rss"]["at_rest"]["web"]) / MIB

"""Figures of a run: each is a function of what `runs.measure` gives; None where the run says nothing about it."""

from tests.bench.runs import OUTSIDE

MIB, KIB = 1 << 20, 1 << 10


def web_per(unit):
    """CPU µs of what serves, per request or chunk."""
    return lambda run: run["cpu"]["web"] / run[unit] * 1e6 if run[unit] else None


def all_per(unit):
    """CPU µs of all processes that belong to the gateway, per request or chunk."""

    def figure(run):
        if unit == "requests" and run["filed"] and run[unit]:
            return web_per(unit)(run) + total(run["until_filed"], {*OUTSIDE, "web"}) / run["filed"] * 1e6
        return total(run["cpu"], OUTSIDE) / run[unit] * 1e6 if run[unit] else None

    return figure


def total(values, but):
    """The sum over the parts, without some of them."""
    return sum(value for part, value in values.items() if part not in but)


def behind_per_row(part):
    """CPU µs of a part behind the web process for each turn until it is filed, beyond what it spends at rest."""
    return lambda run: beyond_rest(run, {part}) / run["filed"] * 1e6 if run["filed"] else None


def beyond_rest(run, parts):
    """CPU seconds that these parts spent until all was filed, beyond those they would have spent at rest."""
    seconds, at_rest = run["seconds_until_filed"], run["cores_at_rest"]
    return sum(max(0, run["until_filed"].get(part, 0) - at_rest.get(part, 0) * seconds) for part in parts)


def work_per_turn(run):
    """CPU µs of a turn in all processes, without what they would have spent at rest."""
    web = web_per("requests")(run)
    behind = set(run["until_filed"]) - OUTSIDE - {"web"}
    return web + beyond_rest(run, behind) / run["filed"] * 1e6 if web and run["filed"] else None


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

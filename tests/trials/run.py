"""One trial on one stage: load, harm, recovery, ledger, verdict."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.trials import books, ledger
from tests.trials.load import Load
from tests.trials.stage import KEYS

LONGEST = 60.0
"""Seconds after a harm in which the gateway may become well; then the trial ends."""
LONGEST_LOAD = 300.0
"""Seconds in which the last mark must have come."""
GROWTH = 250
"""Bytes a turn by which a web process may grow once it has had some thousands of them."""
FILES = 5
"""Descriptors that may be open beside those at the start: clients and instances come and go."""


@dataclass
class Moments:
    """When the harm was begun, and when it was over."""

    begun: float = 0.0
    over: float = 0.0


@dataclass
class Result:
    """All figures of a trial."""

    name: str
    turns: int = 0
    outcomes: dict = field(default_factory=dict)
    failed: int = 0  # that the trial does not allow
    allowed: int = 0
    broken: int = 0
    cut: int = 0
    wrong: int = 0
    lost: int = 0
    doubled: int = 0
    disagree: int = 0
    unbooked: int = 0
    late_rows: int = 0
    well: float = 0.0
    slot: float = 0.0  # s until a key that may have one turn at once had one
    unanswered: list = field(default_factory=list)
    longest: float = 0.0  # s that the slowest good answer took beyond what the model needs
    lines: int = 0
    memory: tuple = (0.0, 0.0)
    files: tuple = (0, 0)
    weights: list = field(default_factory=list)  # (turns, {process: (bytes, files)}) at each mark
    reasons: dict = field(default_factory=dict)
    balance: dict = field(default_factory=dict)  # of `reconcile_usage`, where the trial asks for it
    refusals: dict = field(default_factory=dict)  # requests, by their reason
    faults: list = field(default_factory=list)  # of the books
    misses: list = field(default_factory=list)


async def play(trial, stage):
    """Run it, and judge it."""
    load, moments = Load(stage.port, KEYS, trial.shape), Moments()
    lines = stage.log_lines()
    load.start()
    try:
        await asyncio.sleep(trial.warm)
        before = await asyncio.to_thread(stage.weight)
        moments.begun = time.monotonic()
        await trial.harm(stage)
        moments.over = time.monotonic()
        weights = await weighed(trial, load, stage)
        await until_calm(trial, load, moments)
    finally:
        await load.stop()
    result = count(trial, load, moments)
    result.weights = weights
    result.unanswered, stage.unanswered = stage.unanswered, []
    account = await ledger.compare(stage, load.turns)
    result.lines = stage.log_lines() - lines
    after = await asyncio.to_thread(stage.weight)
    result.memory, result.files = (before[0], after[0]), (before[1], after[1])
    note(result, account)
    if trial.books:
        await hold_books(result, stage, load.turns)
    result.misses = misses(trial, result)
    return result


async def hold_books(result, stage, turns):
    """Whether the ledger adds up, once no turn is open any more."""
    code, result.balance = await books.settled(stage)
    rows = await asyncio.to_thread(ledger.read, stage)
    result.refusals = await asyncio.to_thread(ledger.refusals, stage)
    result.faults = books.faults(turns, rows, code, result.balance)


async def weighed(trial, load, stage):
    """What each web process weighs at each mark."""
    found = []
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_LOAD):
            for mark in trial.marks:
                while len(load.turns) < mark:
                    await asyncio.sleep(0.05)
                found.append((len(load.turns), await asyncio.to_thread(stage.weights)))
    return found


def grown(weights):
    """(the most bytes a turn, the most files) that a process has grown by between the last two marks."""
    (before, first), (after, last) = weights[-2:]
    turns = (after - before) / len(last)  # of each
    return (
        max((last[pid][0] - first[pid][0]) / turns for pid in last.keys() & first.keys()),
        max(last[pid][1] - first[pid][1] for pid in last.keys() & first.keys()),
    )


async def until_calm(trial, load, moments):
    """Until all has been well for a while."""
    while time.monotonic() < moments.over + LONGEST or within(trial, load, moments):
        await asyncio.sleep(0.1)
        now = time.monotonic()
        if trial.shape.turns:
            if load.enough():
                return
        elif (
            not within(trial, load, moments)
            and now > max(moments.over + trial.seconds, load.troubles(moments.over) + trial.calm)
            and has_slot(trial, load, moments)
        ):
            return


def within(trial, load, moments):
    """Whether turns are missing that the trial wants, and may still come."""
    return len(load.turns) < trial.at_least and time.monotonic() < moments.over + LONGEST_LOAD


def has_slot(trial, load, moments):
    """Whether the key that may have one turn at once has had one since the harm."""
    return not trial.shape.limited or load.slot_after(moments.over) is not None


def count(trial, load, moments):
    """What the clients saw."""
    result = Result(trial.name, turns=len(load.turns), outcomes=dict(Counter(turn.outcome for turn in load.turns)))
    failed = [turn for turn in load.turns if turn.outcome == "failed"]
    result.allowed = sum(trial.may_fail(turn, moments) for turn in failed)
    result.failed = len(failed) - result.allowed
    for name in ("broken", "cut", "wrong"):
        setattr(result, name, result.outcomes.get(name, 0))
    result.well = round(load.troubles(moments.over) - moments.over, 2)
    if trial.shape.limited:
        slot = load.slot_after(moments.over)
        result.slot = round((slot or time.monotonic()) - moments.over, 2)
    waits = [turn.ended - turn.began - turn.needs for turn in load.turns if turn.outcome == "ok"]
    result.longest = round(max(waits, default=0.0), 2)
    bad = [turn for turn in load.turns if turn.outcome in {"failed", "broken", "cut", "wrong"}]
    result.reasons = dict(Counter(f"{turn.outcome}: {turn.why}" for turn in bad).most_common(8))
    return result


def note(result, account):
    """What the ledger says."""
    result.lost, result.doubled = len(account.lost), len(account.doubled)
    result.disagree, result.unbooked = len(account.disagree), len(account.unbooked)
    result.late_rows = account.late


def misses(trial, result):
    """Which bounds do not hold."""
    found = [f"{name} {value}" for name in ("failed", "wrong", "lost", "doubled", "disagree")
             if (value := getattr(result, name))]  # fmt: skip
    found += result.faults
    rules = (
        (result.broken and not trial.may_break, f"broken {result.broken}"),
        (result.cut and not trial.may_cut, f"cut {result.cut}"),
        (result.unbooked and not trial.may_miss, f"no row {result.unbooked}"),
        (result.late_rows, f"rows late {result.late_rows}"),
        (result.well > trial.well, f"well after {result.well:g} s"),
        (result.slot > trial.slot, f"slot after {result.slot:g} s"),
        (result.unanswered, f"no answer: {', '.join(result.unanswered)}"),
        (result.lines > trial.lines, f"lines {result.lines}"),
        (result.files[1] > result.files[0] + FILES, "files grew"),
        (not result.outcomes.get("ok"), "nothing answered"),
        (result.turns < trial.at_least, f"turns {result.turns}"),
    )
    return found + [words for missed, words in rules if missed] + (growths(result) if trial.marks else [])


def growths(result):
    """What has grown with the turns."""
    if len({frozenset(processes) for _, processes in result.weights}) != 1 or len(result.weights) < 2:
        return ["not weighed"]
    memory, files = grown(result.weights)
    rules = ((memory > GROWTH, f"{memory:.0f} bytes a turn"), (files > FILES, f"{files} files more"))
    return [words for missed, words in rules if missed]

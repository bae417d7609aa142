"""The table."""

from tests.trials.catalogue import BY_NAME

HEAD = (
    "trial", "harm", "turns", "failed", "allowed", "broken", "cut", "lost", "doubled", "disagree", "well s", "slot s",
    "longest s", "lines", "MiB", "files", "verdict",
)  # fmt: skip


def row(result):
    """One trial."""
    cells = (
        result.name, BY_NAME[result.name].says, f"{result.turns:,}", result.failed, result.allowed, result.broken,
        result.cut, result.lost, result.doubled, result.disagree, f"{result.well:.1f}", f"{result.slot:.1f}",
        f"{result.longest:.1f}",
        result.lines, f"{result.memory[0]:.0f} → {result.memory[1]:.0f}", f"{result.files[0]} → {result.files[1]}",
        "ok" if not result.misses else "missed: " + ", ".join(result.misses),
    )  # fmt: skip
    return line(cells)


def line(cells):
    return f"| {' | '.join(map(str, cells))} |"


def table(results):
    """All of them, with what they add up to."""
    total = sum(result.turns for result in results)
    lost, doubled = (sum(getattr(result, name) for result in results) for name in ("lost", "doubled"))
    rows = [line(HEAD), line(["---"] * len(HEAD)), *map(row, results)]
    return "\n".join(rows) + f"\n\n{total:,} turns in all; {lost} rows lost, {doubled} doubled."


def weights(result):
    """What each web process weighed, and when."""
    told = [
        f"\n    after {turns:,} turns: "
        + ", ".join(f"{memory / (1 << 20):.1f} MiB and {files} files" for memory, files in processes.values())
        for turns, processes in result.weights
    ]
    return "".join(told)


def reasons(result):
    """Why turns failed, for whoever mends it."""
    return "".join(f"\n    {times} × {why}" for why, times in result.reasons.items())

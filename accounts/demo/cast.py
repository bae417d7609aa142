"""The teams and keys that appear in the demonstration. Pure: a seed decides."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

TEAMS: Final = (
    "Ads", "Search", "Maps", "Payments", "Platform", "Data Science", "移动端", "Support Tools", "Risk", "Logistics",
    "Education", "Growth", "Security", "Video", "Travel", "Health", "Gaming", "Infrastructure", "Localization", "Legal",
)  # fmt: skip
ZONES: Final = ("", "Asia/Shanghai", "Europe/Berlin")
PEOPLE: Final = ("wei", "anna", "li", "tom", "mei", "sara", "jun", "omar", "yuki", "max", "ling", "ida", "raj", "eva")
PURPOSES: Final = ("laptop", "CI", "review bot", "notebook", "agent", "IDE", "nightly job", "batch")
LONG_NAME: Final = "temporary key for the migration of the reporting pipeline, to be removed as soon as it is over"
AGENTS: Final = {
    "claude-code": 30, "codex": 16, "opencode": 8, "cline": 8, "openai-python": 14, "anthropic-python": 6,
    "openai-node": 4, "langchain": 4, "aider": 3, "curl": 3, "other": 4,
}  # fmt: skip
KEYS_PER_TEAM: Final = 25
ROWS_PER_KEY: Final = 200
IDLE: Final = 12
"""One key of so many is never used."""


@dataclass(frozen=True, slots=True)
class DemoKey:
    """A key before it is in the database. `weight` is its share of the turns, 0 for one that nobody uses."""

    name: str
    team: int | None
    weight: float
    agent: str
    address: str


def keys_of(seed: int, rows: int) -> list[DemoKey]:
    """As many as so many rows need to look alive: from 12 to 500."""
    # Each part has a generator of its own, so that a change of one leaves what the others make as it was.
    random = Random(f"keys {seed}")  # noqa: S311 - nothing is secret here
    count = min(max(rows // ROWS_PER_KEY, 12), len(TEAMS) * KEYS_PER_TEAM)
    agents, weights = list(AGENTS), list(AGENTS.values())
    keys = []
    for number in range(count):
        # With the seed, so that several demonstrations have room in one database.
        what = LONG_NAME if number == 5 else f"{random.choice(PEOPLE)}'s {random.choice(PURPOSES)}"
        # Few keys make most of the turns, as everywhere.
        weight = 0.0 if number % IDLE == IDLE - 1 else 1 / (number + 1) ** 0.8
        keys.append(
            DemoKey(
                name=f"{what[:80]} {seed}-{number + 1}",
                team=None if number % 40 == 8 else number % team_count(count),
                weight=weight,
                agent=random.choices(agents, weights)[0],
                address=f"10.{random.randrange(4)}.{random.randrange(256)}.{random.randrange(1, 255)}",
            )
        )
    return keys


def team_count(keys: int) -> int:
    return min(max(keys // 6, 3), len(TEAMS))

"""The rooms of the house and the arrows between them: `python -m tests.house.rooms` counts and lists them.

A room is a folder directly below a top-level package, or a module there. An arrow says that one room imports another
when a program runs; imports for type checkers only do not count.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.house.tree import tree

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway_project", "bridge", "sessions_store", "accounts")


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name, migrations apart."""
    paths = [path for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py") if "migrations" not in path.parts]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def room_of(module: str) -> str:
    """`bridge.lingma` for `bridge.lingma.tools.events`."""
    return ".".join(module.split(".")[:2])


@cache
def arrows() -> dict[str, Counter[str]]:
    """How many imports lead from a room to each other room."""
    known = modules()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for module, path in known.items():
        for imported in _imports(tree(path.relative_to(ROOT))):
            if imported.partition(".")[0] in PACKAGES:
                target = room_of(imported if imported in known else imported.rpartition(".")[0])
                if target != room_of(module):
                    found[room_of(module)][target] += 1
    return found


def circles() -> set[tuple[str, str]]:
    """Pairs of rooms that import each other, directly or by way of others; each pair once, in alphabetical order."""
    graph = {room: set(targets) for room, targets in arrows().items()}
    reached = {room: _reached(graph, room) for room in graph}
    return {(a, b) for a in graph for b in reached[a] if a < b and a in reached.get(b, ())}


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for target in graph.get(ahead.pop(), set()) - seen:
            seen.add(target)
            ahead.append(target)
    return seen


def _imports(parent: ast.AST) -> Iterator[str]:
    """The modules, or names in modules, a file imports when it runs."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node)


def main() -> None:
    """Print the rooms, their arrows, and how many there are."""
    found = arrows()
    rooms = {room_of(module) for module in modules()}
    for room, targets in sorted(found.items()):
        print(f"{room} → {', '.join(f'{target} ({count})' for target, count in targets.most_common())}")
    print(f"{len(rooms)} rooms, {sum(map(len, found.values()))} arrows, {len(circles())} pairs in a circle")


if __name__ == "__main__":
    main()

"""The files of the repository, as the house rules see them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

from gateway_project.env import BASE_DIR

PACKAGES = ("gateway_project", "bridge", "accounts", "sessions_store")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or about to be, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=BASE_DIR, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return tuple(Path(name) for name in listed.split("\0") if name and (BASE_DIR / name).is_file())


def modules(*roots: str) -> list[Path]:
    """Python files under these top directories, migrations excepted."""
    return [
        path for path in files() if path.suffix == ".py" and path.parts[0] in roots and "migrations" not in path.parts
    ]


def source() -> list[Path]:
    """What ships."""
    return [*modules(*PACKAGES), Path("manage.py")]


@cache
def text(path: Path) -> str:
    """A file's text; bytes that are no text are left out."""
    return (BASE_DIR / path).read_text(encoding="utf-8", errors="ignore")


@cache
def tree(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(text(path), filename=str(path))


@cache
def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and nested ones included."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

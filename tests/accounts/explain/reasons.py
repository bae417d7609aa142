"""Every reason that the gateway writes into a row, read from its code."""

import ast
from pathlib import Path
from typing import get_args

from accounts.keys.keyring import KeyStatus
from accounts.models import LIMITS
from bridge.chat import errors
from bridge.chat.errors import GatewayError

ROOT = Path(__file__).parents[3]


def kinds():
    found = [GatewayError]
    for each in found:
        found += each.__subclasses__()
    return {each.__name__: each.kind for each in found}


def reasons_given():
    """Those that calls of an error name by a text, such as `Forbidden(…, reason="model")`, or by a name of errors."""
    names = set(kinds()) | {"__init__"}
    return {
        given.value if isinstance(given, ast.Constant) else getattr(errors, given.id)
        for room in ("bridge", "accounts")
        for path in (ROOT / room).rglob("*.py")
        if "simulator" not in path.parts and "reason=" in (text := path.read_text())
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) in names
        for keyword in call.keywords
        if keyword.arg == "reason"
        and (isinstance(given := keyword.value, ast.Constant) or hasattr(errors, getattr(given, "id", "")))
    }


def all_reasons():
    statuses = {*get_args(KeyStatus)} - {"open", "unknown"} | {"unknown_key", "orphaned"}
    return {*kinds().values(), *reasons_given(), *statuses, *LIMITS}


assert errors  # every class of error is known once it is imported

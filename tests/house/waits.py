"""The calls that wait, as the syntax tree shows them, and what bounds each."""

import ast
import re
from typing import NamedTuple

AWAITED = {
    "acquire", "anext", "aclose", "close", "communicate", "connect", "create_connection", "create_unix_connection",
    "drain", "gather", "get", "get_message", "getaddrinfo", "join", "open_connection", "open_unix_connection", "read",
    "readexactly", "readline", "readuntil", "receive", "recv", "run_in_executor", "shield", "sock_connect", "sock_recv",
    "start_server", "to_thread", "wait", "wait_closed",
}  # fmt: skip
"""Methods and functions whose await ends when somebody else has done something."""
BLOCKING = {"acquire", "communicate", "join", "result", "wait", "get"}
"""Methods that block a thread when they are given nothing, not even how long."""
NETWORK = {"urlopen", "create_connection", "run", "check_output", "check_call", "call"}
MODULES = {"subprocess", "socket", "urllib", "request", "requests", "httpx"}
STARTS = {"wait_for", "create_task", "ensure_future"}
LOCK = re.compile(r"lock|guard|mutex|semaphore|condition", re.IGNORECASE)
CLIENTS = {"Redis", "StrictRedis", "from_url", "Client", "AsyncClient"}


class Wait(NamedTuple):
    """A wait without a deadline: the function it stands in, and how it is written."""

    path: str
    function: str
    call: str

    def __str__(self):
        return f"{self.path}: {self.call}"


class Finder(ast.NodeVisitor):
    """Collects the waits of a module that nothing bounds."""

    def __init__(self, path):
        self.path = path
        self.names = []
        self.bounded = 0
        self.found = []

    def visit_FunctionDef(self, node):
        self.names.append(node.name)
        bounded, self.bounded = self.bounded, 0
        self.generic_visit(node)
        self.bounded = bounded
        self.names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as the library calls it

    def visit_ClassDef(self, node):
        self.names.append(node.name)
        self.generic_visit(node)
        self.names.pop()

    def visit_With(self, node):
        self.locks(node)
        self.generic_visit(node)

    def locks(self, node):
        """A lock that is entered is waited for, and cannot be told how long."""
        for item in node.items:
            named = name_of(item.context_expr)
            if not isinstance(item.context_expr, ast.Call) and LOCK.search(named) and not self.bounded:
                self.note(item.context_expr)

    def visit_AsyncWith(self, node):
        self.locks(node)
        for item in node.items:
            self.visit(item)
        bounds = any(name_of(item.context_expr) in {"timeout", "timeout_at"} for item in node.items)
        self.bounded += bounds
        for statement in node.body:
            self.visit(statement)
        self.bounded -= bounds

    def visit_Await(self, node):
        value = node.value
        if isinstance(value, ast.Call):
            if not self.bounded and waits_for_others(value):
                self.note(node)
            self.parts(value)
        elif not self.bounded:  # a future, or a task
            self.note(node)

    def visit_AsyncFor(self, node):
        if not self.bounded:
            self.note(node.iter)
        self.generic_visit(node)

    def visit_Call(self, node):
        if blocks(node):
            self.note(node)
        self.parts(node)

    def parts(self, node):
        self.visit(node.func)
        for child in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if name_of(node) in STARTS and isinstance(child, ast.Call) and name_of(child) == "wait":
                continue  # a coroutine: it is awaited elsewhere
            self.visit(child)

    def note(self, node):
        self.found.append(Wait(str(self.path), ".".join(self.names), ast.unparse(node)))


def name_of(node):
    """The last part of what is called."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def has_deadline(call):
    """Whether it is told how long to wait."""
    return any(keyword.arg is None or "timeout" in keyword.arg for keyword in call.keywords)


def waits_for_others(call):
    """Whether this await ends only when somebody else has done something."""
    return name_of(call) in AWAITED and not has_deadline(call)


def blocks(call):
    """Whether this call, which is not awaited, holds a thread for as long as somebody else likes."""
    name, first = name_of(call), getattr(call.func, "value", None)
    if has_deadline(call):
        return False
    match name:
        case "flock" | "lockf":
            return "LOCK_NB" not in ast.unparse(call) and "LOCK_UN" not in ast.unparse(call)
        case "waitpid":
            return "WNOHANG" not in ast.unparse(call)
        case "select":
            return len(call.args) == 3
        case "create_connection":
            return len(call.args) < 2
    if name in CLIENTS:
        return True
    if name in NETWORK and name_of(first) in MODULES:
        return True
    return name in BLOCKING and isinstance(call.func, ast.Attribute) and not call.args and not call.keywords


def waits(path, tree):
    """All waits of a module that nothing bounds."""
    finder = Finder(path)
    finder.visit(tree)
    return finder.found

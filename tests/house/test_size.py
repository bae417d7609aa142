"""Small functions, small files."""

import ast

from tests.house.tree import functions, modules, source, text

LONGEST_BODY = 40
LONGEST_FILE = 500


def body_lines(function):
    statements = function.body
    first = statements[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(statements) > 1:
        first = statements[1]  # a docstring is no body
    return function.end_lineno - first.lineno + 1


def test_function_bodies_fit_on_a_screen():
    long = [
        f"{path}:{function.lineno} {function.name} {body_lines(function)}"
        for path in [*source(), *modules("tests")]
        for function in functions(path)
        if body_lines(function) > LONGEST_BODY
    ]
    assert long == []


def test_files_need_no_table_of_contents():
    lengths = {path: len(text(path).splitlines()) for path in [*source(), *modules("tests")]}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}

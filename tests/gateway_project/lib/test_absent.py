"""What a start does not load."""

import importlib
import os
import subprocess
import sys

import pytest

from gateway_project.lib.absent import absent


def test_absent_modules_fail_and_come_back():
    sys.modules.pop("this", None)
    with absent("this", "os"):
        with pytest.raises(ImportError):
            importlib.import_module("this")
        assert importlib.import_module("os") is os  # it is loaded, so others have it
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("served", "unused"),
    [(True, "psycopg requests urllib3 pygments"), (False, "accounts.admin unfold.admin prompt_toolkit")],
    ids=["pages", "no pages"],
)
def test_starts_load_nothing_unused(tmp_path, served, unused):
    program = f"""
import gateway_project.celery.__main__, sys, django
from gateway_project.lib import console
console.served = {served}
django.setup()
print(*sys.modules.keys() & set({unused.split()}))
"""
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stdout.strip() == ""

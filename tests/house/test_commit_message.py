"""The hook takes messages such as CONTRIBUTING shows, and says what is wrong with others."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import commit_message
from tests.house.tree import text

WHY = "\n\nIts input is plain text.\n"


def test_example_in_contributing_is_taken():
    example = text(Path("CONTRIBUTING.md")).partition("## Commits")[2].split("```text\n")[1].partition("```")[0]
    assert commit_message.flaws(example) == []


@pytest.mark.parametrize(
    ("message", "flaw"),
    [
        (f"Fix the pool{WHY}", "area: what"),
        (f"Pool: places are counted{WHY}", "area: what"),
        (f"pool: places are counted.{WHY}", "area: what"),
        (f"pool: {'x' * 67}{WHY}", "73 characters"),
        ("pool: places are counted\nat once\n", "blank line"),
        ("pool: places are counted\n\n# what git adds\n", "says why"),
        ("", "area: what"),
    ],
)  # fmt: skip
def test_flaw_is_named(message, flaw):
    assert flaw in " ".join(commit_message.flaws(message))


@pytest.mark.parametrize("subject", ["alerts, doctor: what hangs is told", "fixup! x", f"pool: {'x' * 66}"], ids=len)
def test_good_subject_is_taken(subject):
    assert commit_message.flaws(subject + WHY) == []


def test_hook_refuses_and_says_why(tmp_path):
    (tmp_path / "message").write_text("Fix it\n", encoding="utf-8")
    command = [sys.executable, "-m", "tests.house.commit_message", str(tmp_path / "message")]
    answer = subprocess.run(
        command, cwd=commit_message.__file__.partition("/tests/")[0], capture_output=True, text=True
    )
    assert (answer.returncode, "area: what" in answer.stderr) == (1, True)

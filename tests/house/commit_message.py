"""Hook of `commit-msg`: whether a message has the form that CONTRIBUTING asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LONGEST_SUBJECT = 72
SUBJECT = re.compile(r"[a-z0-9][a-z0-9_./, -]*: \S.*[^.]")
MADE_BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ")


def flaws(message: str) -> list[str]:
    """What is wrong with a message, as git hands it over; [] for a good one."""
    lines = [line for line in message.partition("\n# ---")[0].splitlines() if not line.startswith("#")]
    subject, body = (lines or [""])[0], [line for line in lines[1:] if line.strip()]
    if subject.startswith(MADE_BY_GIT):
        return []
    found = []
    if not SUBJECT.fullmatch(subject):
        found.append("The subject is `area: what`, with the area in lower case and no full stop.")
    if len(subject) > LONGEST_SUBJECT:
        found.append(f"The subject has {len(subject)} characters; {LONGEST_SUBJECT} are the most.")
    if len(lines) > 1 and lines[1].strip():
        found.append("A blank line stands between subject and body.")
    if not body:
        found.append("The body says why.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(flaws(Path(sys.argv[1]).read_text(encoding="utf-8"))) or None)

"""Who is an orphan, by the kernel's list of children and by a look at all processes."""

import subprocess
import sys

import pytest

from tests.gateway_project.gateway import ROOT

PROGRAM = """
import os, signal
from gateway_project.supervise import orphans
mine, running, ended = [os.fork() or signal.pause() for _ in range(3)]
orphans.ours.add(mine)
os.kill(ended, signal.SIGKILL)
os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
print(sorted(orphans.listed()) == sorted(orphans.adopted()) == sorted([running, ended]))
orphans.reap()
print(orphans.listed() == orphans.adopted() == [running])
for each in (mine, running):
    os.kill(each, signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no /proc")
def test_orphans_are_found_and_collected():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["True", "True"], "")

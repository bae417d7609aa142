"""How many connections a process may have."""

import subprocess
import sys

import pytest

from gateway_project.server.connections import EXTRA, MOST, most_of

PROGRAM = """
import resource
from gateway_project.server.connections import raise_descriptor_limit
print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("limits", "told"), [("256:2048", "2048 2048 2048"), ("512:512", "512 512 512")])
def test_a_process_takes_all_descriptors_it_may_have(limits, told):
    command = ["prlimit", f"--nofile={limits}", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == told


@pytest.mark.parametrize(("descriptors", "most"), [(1024, 787), (65_536, MOST), (10, 1), (200, 160 - EXTRA)])
def test_connections_leave_descriptors_for_the_rest(descriptors, most):
    assert most_of(descriptors) == most

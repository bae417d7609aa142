"""How much memory a process has."""

import os

import psutil

from gateway_project.lib.processes.memory import resident


def test_own_memory_is_known():
    known = psutil.Process(os.getpid()).memory_info().rss
    assert abs(resident(os.getpid()) - known) < 64 << 20


def test_process_that_is_not_there_has_none():
    assert resident(2**22 + 1) == 0

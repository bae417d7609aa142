"""What the supervisor prints of its children, where nobody reads it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import psutil, sys
from gateway_project.supervise.output import Output
output = Output(7)
for number in range(20_000):
    output.line("web-1", b"%d " % number + b"x" * 4000)
print(psutil.Process().memory_info().rss >> 20, file=sys.stderr, flush=True)
sys.stdin.readline()
output.message("still here")
output.close()
"""


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    with open(reader, "rb") as read_end:
        yield read_end, writer


def start(stdout):
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("blocking", [True, False])
def test_stalled_terminal_costs_lines_and_little_memory(pipe, blocking):
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    with start(writer) as process:
        os.close(writer)
        assert int(process.stderr.readline()) < 100
        lines = []
        while not lines or b"lines were dropped: nobody took them" not in lines[-1]:
            lines.append(reader.readline())
            assert len(lines) < 20_000
        process.stdin.write("\n")
        process.stdin.close()
        assert b"still here" in reader.read()
    assert process.returncode == 0


def test_an_end_waits_for_no_reader(pipe):
    _, writer = pipe
    process = start(writer)
    os.close(writer)
    _, said = process.communicate("\n", timeout=60)
    assert (process.returncode, said.count("\n")) == (0, 1)


@pytest.mark.parametrize("gone", [">&-", ">/dev/full"])
def test_an_output_that_nobody_can_write_ends_nothing(gone):
    command = ["sh", "-c", f'exec "$0" -c "$1" {gone}', sys.executable, PROGRAM]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)

"""Logs under harm: the same trouble is told once, then counted, and nobody waits for who reads them."""

import logging
import os
import subprocess
import sys

import pytest

from gateway_project.log_repeats import FIRST, MOST_KINDS, Repeats
from tests.gateway_project.test_logging import START, logged


def record(template, *args, level=logging.WARNING, name="bridge.test"):
    return logging.LogRecord(name, level, "x.py", 1, template, args, None)


def test_repeated_trouble_is_logged_then_counted():
    lines = logged("for n in range(1234):\n    log.warning('lost %d', n)\nlog.warning('other')").splitlines()
    assert [line.rpartition("lost ")[2] for line in lines[:FIRST]] == [str(n) for n in range(FIRST)]
    assert lines[FIRST].endswith("other")
    assert "lost 1233 … repeated 1,224 times in " in lines[-1]
    assert len(lines) == FIRST + 2


BROKEN = """
def breaks():
    raise ValueError("it broke")
for n in range(100):
    try:
        breaks()
    except ValueError:
        log.exception("request %d failed", n)
"""


def test_a_trace_of_one_place_is_written_once():
    written = logged(BROKEN)
    assert written.count("Traceback") == 1
    assert "request 99 failed … repeated 90 times" in written


def test_messages_that_quote_strangers_are_counted():
    lines = logged(
        "for n in range(1000):\n"
        "    logging.getLogger('django.security.DisallowedHost').warning(f'Invalid HTTP_HOST header: {n}')"
    ).splitlines()
    assert len(lines) == FIRST + 1
    assert "header: 999 … repeated 990 times" in lines[-1]


def test_every_turn_has_its_line():
    lines = logged("for n in range(2000):\n    logging.getLogger('bridge.turn').info('turn')").splitlines()
    assert len(lines) == 2000


def test_lasting_trouble_is_logged_now_and_then():
    repeats, written = Repeats(), []
    for second in range(600):
        for _ in range(100):
            repeats.admits(record("lost"), second)
        written += [each.getMessage() for each in repeats.due_counts(second)]
    assert written[0] == "lost … repeated 1,090 times in 10 s"
    assert written[1].endswith("times in 20 s")
    assert 5 < len(written) < 12


def test_one_repetition_is_no_number_of_times():
    repeats = Repeats()
    for _ in range(FIRST + 1):
        repeats.admits(record("lost"), 0)
    assert [each.getMessage() for each in repeats.due_counts(10)] == ["lost … repeated once in 10 s"]


def test_returning_trouble_is_logged_again():
    repeats = Repeats()
    for _ in range(50):
        repeats.admits(record("lost"), 0)
    assert len(repeats.due_counts(10)) == 1
    assert repeats.due_counts(100) == []
    assert repeats.admits(record("lost"), 101)


def test_many_kinds_of_records_take_little_memory():
    repeats, written = Repeats(), []
    for number in range(10 * MOST_KINDS):
        for _ in range(FIRST + 3):
            repeats.admits(record(f"trouble {number}"), 0)
        written += repeats.due_counts(0)
    assert len(repeats._seen) == MOST_KINDS
    assert len(written) + len(repeats.all_counts(0)) == 10 * MOST_KINDS


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_records_without_trouble_may_repeat(level):
    repeats = Repeats()
    assert all(repeats.admits(record("done", level=level), 0) for _ in range(100))


FLOOD = """
import psutil, sys
for n in range(20_000):
    log.warning("%s " + str(n), "x" * 300)
print(psutil.Process().memory_info().rss >> 20, flush=True)
sys.stdin.readline()
log.warning("still here")
"""


def flood(stderr, **more):
    command = [sys.executable, "-c", f"FORMAT = 'text'\n{START}\n{FLOOD}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, **more)


@pytest.mark.parametrize("blocking", [True, False])
def test_stalled_log_reader_stops_nobody(blocking):
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    with flood(writer) as process, open(reader, "rb") as read_end:
        os.close(writer)
        assert int(process.stdout.readline()) < 150
        lines = []
        while not lines or b"lines were dropped: nobody took them" not in lines[-1]:
            lines.append(read_end.readline())
            assert len(lines) < 20_000
        process.stdin.write("\n")
        process.stdin.close()
        assert b"still here" in read_end.read()
    assert process.returncode == 0


def test_a_process_ends_although_nobody_reads_its_log():
    reader, writer = os.pipe()
    process = flood(writer)
    process.communicate("\n", timeout=60)
    os.close(writer)
    os.close(reader)
    assert process.returncode == 0


@pytest.mark.parametrize("gone", ["2>&-", "2>/dev/full"])
def test_a_log_that_nobody_can_write_ends_nothing(gone):
    command = ["sh", "-c", f'exec "$0" -c "$1" {gone}', sys.executable, f"FORMAT = 'text'\n{START}\n{FLOOD}"]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")

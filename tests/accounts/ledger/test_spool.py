"""Rows where neither Redis nor the disk takes them: a limit on the size of files stands for a full one."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from accounts.ledger.spool import SPOOL, lines_of

START = textwrap.dedent("""
    import fcntl, logging, resource, sys, threading
    from pathlib import Path
    from accounts.ledger import spool
    logging.basicConfig(level="INFO")
    home = Path(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    fill = lambda size=0: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    empty = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    def add(first, last):
        for number in range(first, last):
            spool.append(home, [b"row-%d" % number])
    def written():
        for thread in threading.enumerate():
            if thread.name == "unwritten":
                thread.join(30)
        assert not spool.unwritten
""")


def run(directory, program):
    """What a process that spools rows logs."""
    command = [sys.executable, "-c", START + textwrap.dedent(program), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def rows(directory: Path):
    return [line.decode() for line in lines_of(directory / SPOOL)]


@pytest.mark.parametrize("room", [0, 1000], ids=["no room at all", "room for a part"])
def test_rows_wait_in_memory_until_there_is_room(tmp_path, room):
    log = run(
        tmp_path, f"fill({room})\nadd(0, 3000)\nassert spool.waiting(home) == 3000\nempty()\nwritten()\nadd(3000, 3001)"
    )
    assert rows(tmp_path) == [f"row-{number}" for number in range(3001)]
    assert (log.count("degraded: disk"), log.count("well again: disk")) == (1, 1)
    assert len(log.splitlines()) == 4


def test_rows_in_memory_are_written_at_exit(tmp_path):
    run(tmp_path, "fill()\nadd(0, 10)\nempty()")
    assert len(rows(tmp_path)) == 10


def test_rows_that_are_lost_are_counted(tmp_path):
    log = run(tmp_path, "fill()\nspool.append(home, [b'x' * 2**20] * 40)\nprint(len(spool.unwritten))")
    assert "rows are lost from now on" in log
    assert "40 rows are lost: this process ends" in log


def test_a_writer_that_stands_still_holds_up_nobody(tmp_path):
    log = run(
        tmp_path,
        """
        add(0, 1)
        with (home / spool.SPOOL).open("ab") as stopped:
            fcntl.flock(stopped, fcntl.LOCK_EX)
            add(1, 100)
            assert len(spool.unwritten) == 99
            assert list(spool.take(home)) == []
        written()
    """,
    )
    assert len(log.splitlines()) == 2


def test_rows_in_memory_can_be_kept_elsewhere(tmp_path):
    run(
        tmp_path,
        """
        fill()
        add(0, 10)
        spool.append(home, [b"bad"], spool.REJECTED)
        assert spool.unwritten.take(spool.SPOOL, 4) == [b"row-0", b"row-1", b"row-2", b"row-3"]
        assert len(spool.unwritten) == 7
        empty()
    """,
    )
    assert len(rows(tmp_path)) == 6


def test_disk_with_room_again_is_noticed_without_rows(tmp_path):
    log = run(
        tmp_path,
        """
        from gateway_project.lib import degraded
        fill()
        for number in range(3):
            add(number, number + 1)
            assert len(spool.unwritten.take(spool.SPOOL, 9)) == 1
        assert [facts.name for facts in degraded.active()] == ["disk"]
        empty()
        written()
        assert degraded.active() == []
        """,
    )
    assert rows(tmp_path) == []
    assert log.count("rows wait in memory, where") == 1
    assert "0 are written, 3 went elsewhere, 0 were lost" in log

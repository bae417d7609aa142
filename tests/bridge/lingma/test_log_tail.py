"""Token usage out of the service's log, as it grows, rotates and fails to come."""

import asyncio
import json

import pytest

from bridge.lingma.dialects.a.dialect import LOG
from bridge.lingma.dialects.base import LoggedUsage
from bridge.lingma.process import log_tail
from bridge.lingma.process.log_tail import LogTail

STAMP = "2026-03-25T17:46:20.540+0800 INFO chat/service.go:88 "


def line(request_id, prompt=495, completion=62):
    figures = {"completion_tokens": completion, "prompt_tokens": prompt, "request_id": request_id, "total_tokens": 557}
    return f"{STAMP}[TOKEN_USAGE]: {json.dumps(figures)}\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "lingma.log"
    path.write_text(line("earlier run"))
    return path


@pytest.fixture
def log(path, tmp_path):
    return LogTail(tmp_path, LOG)


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_renewals_of_the_login_are_counted(log, path):
    append(path, f"{STAMP}renew token success. new expire time: 1\n{STAMP}Renew token got error from auth server\n")
    append(path, f"{STAMP}Failed to get renew token response\n{STAMP}nothing new\n")
    log.look()
    log.look()
    assert (log.renewed, log.not_renewed) == (1, 2)


def test_usage_of_a_turn_is_read_once(log, path):
    append(path, f"{STAMP}something else\n{line('r1')}{line('r2', 7, 8)}")
    assert log.usage("r2") == LoggedUsage("r2", 7, 8)
    assert log.usage("r1") == LoggedUsage("r1", 495, 62)
    assert log.usage("r1") is None


def test_lines_of_an_earlier_run_are_left_alone(log):
    assert log.usage("earlier run") is None


def test_a_line_counts_when_it_is_whole(log, path):
    whole = line("r1")
    append(path, whole[:60])
    assert log.usage("r1") is None
    append(path, whole[60:-1])
    assert log.usage("r1") is None
    append(path, "\n")
    assert log.usage("r1") == LoggedUsage("r1", 495, 62)


def test_a_rotated_log_is_read_from_its_start(log, path):
    append(path, line("r1"))
    assert log.usage("r1")
    path.rename(path.with_name("lingma-1.log"))
    assert log.usage("r2") is None
    path.write_text(line("r2") * 3)
    assert log.usage("r2")


def test_a_truncated_log_is_read_from_its_start(log, path):
    append(path, line("r1") * 5)
    assert log.usage("r1")
    path.write_text(line("r2"))
    assert log.usage("r2")


def test_figures_begin_with_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(log_tail, "RETRY_SEC", 0)
    log = LogTail(tmp_path, LOG)
    assert (log.usage("r1"), log.worth_waiting) == (None, False)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "lingma.log").write_text(line("r1"))
    assert log.usage("r1")
    assert log.worth_waiting


DEEP = b'[TOKEN_USAGE]: {"a":' + b"[" * 3000


@pytest.mark.parametrize(
    "text",
    [b"[TOKEN_USAGE]: {", b"[TOKEN_USAGE]: {}", b"[TOKEN_USAGE]: null", b"[TOKEN_USAGE]: ", DEEP,
     line("r2").encode().strip().replace(b"r2", b"r\xff")],
    ids=["open", "empty", "null", "nothing", "deep", "no text"],
)  # fmt: skip
def test_unreadable_line_hides_no_other(log, path, text):
    with path.open("ab") as file:
        file.write(b"%b\n%b%b\n" % (text, line("r1").encode(), text))
    assert log.usage("r1")


def test_long_backlog_is_read_only_at_its_end(log, path, monkeypatch):
    monkeypatch.setattr(log_tail, "MAX_READ", 1000)
    append(path, line("old") + "x" * 5000 + "\n" + line("new"))
    assert (log.usage("old"), bool(log.usage("new"))) == (None, True)


def test_figures_nobody_asks_for_do_not_pile_up(log, path, monkeypatch):
    monkeypatch.setattr(log_tail, "MAX_USAGES", 3)
    append(path, "".join(line(f"r{n}") for n in range(10)))
    assert log.usage("r9")
    assert (log.usage("r0"), bool(log.usage("r8")), bool(log.usage("r7"))) == (None, True, True)


def test_complaints_about_missing_acknowledgements_are_counted(log, path):
    late = f"{STAMP}|Outbound| request 5 chat/answer failed: no response from client, timeout reached\n"
    append(path, late * 3 + line("r1"))
    log.usage("r1")
    assert log.late_acks == 3


async def test_a_late_line_is_waited_for(log, path):
    asyncio.get_running_loop().call_later(0.01, append, path, line("r1"))
    assert await log.wait_for("r1") == LoggedUsage("r1", 495, 62)


async def test_log_without_figures_is_awaited_a_few_times(log, path, monkeypatch):
    monkeypatch.setattr(log_tail, "WAITS", (0.0,))
    for number in range(log_tail.MISSES):
        assert log.worth_waiting
        assert await log.wait_for(f"r{number}") is None
    assert not log.worth_waiting
    append(path, line("r9"))
    assert log.usage("r9")
    assert log.worth_waiting


def test_service_without_figures_is_not_expected_to(log, path, monkeypatch):
    assert log.may_come
    monkeypatch.setattr(log_tail, "LATEST_SEC", 0)
    never = log_tail.LogTail(path.parents[1], LOG)
    append(path, "Ready\n")
    assert never.usage("r1") is None
    assert not never.may_come
    append(path, line("r2"))
    assert never.usage("r2")
    assert never.may_come, "it does log some"


def test_missing_log_is_not_awaited(tmp_path):
    assert not LogTail(tmp_path, LOG).may_come

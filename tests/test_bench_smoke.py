"""The pieces of the benchmark, each once and briefly: source, load client, bare proxy, report."""

import asyncio
import json
import subprocess
from contextlib import ExitStack

import pytest
import websockets

from tests.bench import growth, pages, processes, records, report
from tests.bench.__main__ import checked
from tests.bench.cases import Case
from tests.bench.chunks import StampReader, question, scenario
from tests.bench.rows import ROWS, Row
from tests.bench.runs import measure
from tests.bench.targets import Bare, NoGateway, Ours

SMALL = {"warm": 0.05, "window": 0.2, "least": 5}


@pytest.fixture
def target(request, tmp_path):
    started = request.param(tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def lsp(value):
    body = json.dumps(value).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def next_message(socket):
    frame = await socket.recv(decode=False)
    head, _, body = frame.partition(b"\r\n\r\n")
    assert head == b"Content-Length: %d" % len(body)
    return json.loads(body)


def test_a_question_carries_its_scenario_through_any_wrapping():
    assert scenario(json.dumps({"q": f"user: {question(7, 20)}.\n"}).encode()) == (7, 20)
    assert scenario(b"hello") == (1, 0)


def test_stamps_are_found_wherever_the_answer_is_cut():
    answer = b'{"a":"~000000000000000001 "}\n\n{"a":"~000000000000000002 "}'
    for cut in range(len(answer)):
        reader = StampReader()
        assert reader.feed(answer[:cut]) + reader.feed(answer[cut:]) == [1, 2]


@pytest.mark.e2e
@pytest.mark.parametrize("target", [NoGateway], indirect=True)
async def test_the_source_speaks_the_private_protocol(target):
    port = processes.flags(target.serving)["socketPort"]
    async with asyncio.timeout(30), websockets.connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
        await socket.send(lsp({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}))
        assert (await next_message(socket))["result"]["serverInfo"]["name"] == "lingma"
        params = {"requestId": "r%1", "sessionId": "s1", "questionText": question(2, 1)}
        await socket.send(lsp({"jsonrpc": "2.0", "id": "ask", "method": "chat/ask", "params": params}))
        assert (await next_message(socket))["result"]["isSuccess"] is True
        pushes = [await next_message(socket) for _ in range(3)]
        assert [push["method"] for push in pushes] == ["chat/answer", "chat/answer", "chat/finish"]
        assert [len(push["params"]["text"]) for push in pushes[:2]] == [20, 20]
        assert {push["params"]["requestId"] for push in pushes} == {"r%1"}
        assert pushes[2]["params"]["statusCode"] == 200
        for push in pushes:
            await socket.send(lsp({"jsonrpc": "2.0", "id": push["id"], "result": None}))
        await socket.send(lsp({"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {}}))
        assert (await next_message(socket))["result"] == {"success": True}
    assert target.acknowledged() == 1


CASES = [
    Case("streamed", 2, 3, 5, **SMALL),
    Case("plain", 2, 1, streamed=False, **SMALL),
    Case("flood", 2, 50, timed=False, **SMALL),
]


@pytest.mark.e2e
@pytest.mark.parametrize("target", [NoGateway, Bare], indirect=True)
def test_every_chunk_of_every_answer_arrives(target):
    for case in CASES:
        run = measure(case, target)
        assert (run["faults"], run["unfinished"]) == ({}, 0), case
        assert run["requests"] > 0, case
        assert run["chunks"] > 0, case
        assert run["cpu"]["web"] > 0, case
        assert run["rss"]["at_rest"]["web"] >= run["pss"]["at_rest"]["web"] > 1 << 20, case


@pytest.mark.e2e
@pytest.mark.parametrize("target", [NoGateway], indirect=True)
def test_target_leaves_nothing_running(target):
    pids = target.pids()
    target.stop()
    assert [pid for pid in pids if processes.started(pid)] == []


@pytest.mark.e2e
def test_bench_gateway_runs_source_instead_of_executable(tmp_path):
    _, environment = Ours(tmp_path).command()
    binary = environment["LINGMA_BIN"]
    told = subprocess.run([binary, "version"], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert told.stdout == "version: 2.11.1\n"


@pytest.mark.parametrize(
    ("ours", "bare", "verdict"), [(12, 20, "met"), (12, 10, "missed"), (16, 20, "missed"), (12, None, "met")]
)
def test_target_needs_its_figure_and_its_ratio(ours, bare, verdict):
    row = Row("a figure", "request", None, at_most=15, times=0.9)
    assert report.judged(row, ours, bare, None) == ("≤ 0.9 × bare, ≤ 15", verdict)


def results_of(ours, bare):
    """Runs of one case in which so many CPU seconds went into a thousand chunks."""
    results = report.Results()
    for target, spent in (("ours", ours), ("bare", bare)):
        for seconds in spent:
            cpu = {"web": seconds, "source": 9.0, "client": 9.0}
            results.add("flood", target, {"cpu": cpu, "chunks": 1000, "requests": 5, "seconds": 1.0, "filed": 0})
    return results


def test_ratio_is_of_the_best_passes():
    found = report.ratios(results_of(ours=(0.004, 0.003), bare=(0.010, 0.012)))
    assert found["CPU µs per chunk, flood 50 × 200, all processes"] == 0.3
    assert found["chunks/s, flood"] == 1


@pytest.mark.parametrize(("now", "names"), [(0.0032, 0), (0.0034, 2)])
def test_ratio_worse_by_a_tenth_is_told(now, names):
    before = report.ratios(results_of(ours=(0.003,), bare=(0.010,)))
    assert len(report.worse(results_of(ours=(now,), bare=(0.010,)), before, 0.10)) == names


@pytest.mark.parametrize(("again", "code"), [(0.0034, 1), (0.003, 0)])
def test_figure_that_seems_worse_is_remeasured(again, code):
    before = report.ratios(results_of(ours=(0.003,), bare=(0.010,)))
    results = results_of(ours=(0.0034,), bare=(0.010,))
    assert checked(results, before, lambda cases: results.runs.update(results_of((again,), (0.010,)).runs)) == code


def test_growth_not_measured_stays_on_the_page():
    lines = [[each.title, "1", *["2"] * (len(growth.HEAD) - 4), "", ""] for each in growth.DIMENSIONS]
    page = growth.page(lines)
    assert growth.merged(page, []) == lines
    changed = [[lines[1][0], "7", *lines[1][2:]]]
    assert growth.merged(page, changed) == [lines[0], *changed, *lines[2:]]


def test_headlines_are_lines_of_the_whole_table():
    results = results_of(ours=(0.003,), bare=(0.010,))
    whole, few = (
        [line.split(" | ")[:3] for line in told(results).splitlines()] for told in (report.comparison, report.headlines)
    )
    assert 3 <= len(few) < len(whole)
    assert [line for line in few if line not in whole and "---" not in line[0]] == []


@pytest.mark.e2e
@pytest.mark.parametrize(("database", "tables"), [("SQLite", "migrated"), ("PostgreSQL", "migrated_postgres")])
def test_every_page_is_measured(request, database, tables):
    with ExitStack() as stack:
        found = pages.measured(stack, 400, [database], times=1, begin=request.getfixturevalue(tables))
    figures = found[database]["pages"]
    assert all(min(each["queries"], each["web"], each["wall"]) > 0 for each in figures.values())
    assert all((each["database"] > 0) is (database == "PostgreSQL") for each in figures.values())
    table = pages.page(found, 400)
    assert [title for title in figures if f"| {title} | {database} |" not in table] == []
    whole = found[database]["export"]
    assert whole["bytes"] > 100 * whole["lines"] > 100 * 400 / 2
    assert f"{whole['lines']:,} lines" in table.replace("\n", " ")


def test_verdict_on_page_knows_slow_machines():
    figures = {"web": 400, "database": 100, "wall": 600, "queries": 7}
    assert pages.line("a page", "PostgreSQL", figures, 2)[-2:] == ["250", "met"]
    assert pages.line("a page", "PostgreSQL", figures, 1)[-2:] == ["500", "missed"]


def test_titles_of_rows_are_unique():
    assert len({row.title for row in ROWS}) == len(ROWS)


def test_section_of_readme_is_written_between_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    records.write_section("bench", "new", page)
    assert page.read_text() == "before\n<!-- bench: begin -->\n\nnew\n\n<!-- bench: end -->\nafter\n"
    with pytest.raises(SystemExit):
        records.write_section("growth", "new", page)


def test_ratios_not_measured_stay_as_they_were(tmp_path):
    path = tmp_path / "ratios.json"
    records.write_ratios({"a": 0.5, "b": 0.6}, "a machine", path)
    records.write_ratios({"b": 0.7}, "a machine", path)
    assert records.read_ratios(path) == {"a": 0.5, "b": 0.7}


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ((100, 101, 102), "flat"),
        ((100, 110, 1100), "1.00"),
        ((100, 200, 10_000), "1.70 FASTER"),
        ((9, 100, 130), "0.11"),
    ],
)
def test_growth_is_told_by_its_exponent(costs, told):
    assert growth.growth(list(zip((1, 10, 100), costs, strict=True))) == told

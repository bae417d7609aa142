"""The pieces of the benchmark, each once and briefly: source, load client, typical gateway, report."""

import asyncio
import json
import subprocess

import pytest
import websockets

from tests.bench import processes, report
from tests.bench.__main__ import measure
from tests.bench.cases import Case
from tests.bench.chunks import StampReader, question, scenario
from tests.bench.targets import NoGateway, Ours, Typical

SMALL = {"warm": 0.05, "window": 0.2}


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
@pytest.mark.parametrize("target", [NoGateway, Typical], indirect=True)
def test_every_chunk_of_every_answer_arrives(target):
    for case in CASES:
        run = measure(case, target)
        assert (run["faults"], run["unfinished"]) == ({}, 0), case
        assert run["requests"] > 0, case
        assert run["chunks"] > 0, case


@pytest.mark.e2e
@pytest.mark.parametrize("target", [NoGateway], indirect=True)
def test_nothing_is_left_running(target):
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
    ("ours", "typical", "verdict"),
    [
        (400, 900, "ok"),
        (500, 1100, "missed (figure)"),
        (440, 600, "missed (ratio)"),
        (500, 600, "missed (figure, ratio)"),
    ],
)
def test_target_needs_its_figure_and_its_ratio(ours, typical, verdict):
    row = report.Row("a figure", "request", None, at_most=450, ratio=2)
    assert report.judged(row, ours, typical, None) == ("≤ 450, ≥ 2× better", verdict)

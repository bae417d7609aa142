"""Tool calls of the service's agent over a connection: who hears of them, and what the service is answered."""

import json

import pytest
from prometheus_client import REGISTRY

from bridge.chat.events import LingmaToolCall, TextDelta
from bridge.lingma.tools.events import MOST_CALLS
from bridge.lingma.tools.policy import DENIED, NOT_RUN, Decision
from gateway_project.lib.tool_approval import Approval
from tests.bridge.lingma.conftest import received_pieces
from tests.bridge.lingma.service import answer, finish

IDS = {"requestId": "r1", "sessionId": "s1", "toolCallId": "c1"}
PENDING = IDS | {"toolCallStatus": "PENDING", "parameters": {"path": "."}, "results": [], "errorMsg": ""}
OUTPUT = {"content": "a.txt"}
ALLOW = Approval.read("allow")
ALLOW_LIST = Approval.read("allow:list_dir")


def sync(status="PENDING", **more):
    return "tool/call/sync", PENDING | {"toolCallStatus": status} | more


def invoke(**more):
    return "tool/invoke", IDS | {"name": "list_dir", "parameters": {"path": "."}} | more


@pytest.fixture
def course(service, connection, peer, ask):
    """Run a turn of these pushes: the calls that were pushed, and what the service was told of tools."""

    async def course(*pushes, request_id="r1"):
        turn = ask(request_id)
        await peer.push(*pushes, finish(request_id))
        calls = [piece for piece in await received_pieces(turn) if isinstance(piece, LingmaToolCall)]
        await connection.request(("ping", {}), 5)
        sent = [
            (each["method"], each["params"]) for each in service.received if each.get("method", "").startswith("tool/")
        ]
        return turn, calls, sent

    return course


def verdicts(sent):
    """(approval of each approve, success of each invokeResult), in order."""
    return [params.get("approval", params.get("success")) for _, params in sent]


async def test_call_is_denied_once_and_shown_by_default(course):
    turn, calls, sent = await course(
        sync(name="list_dir"), sync(name="list_dir"), sync("RUNNING"), invoke(**{"async": True})
    )
    assert sent == [
        ("tool/call/approve", {"type": "tool_call", **IDS, "approval": False}),
        (
            "tool/invokeResult",
            {"toolCallId": "c1", "name": "list_dir", "success": False, "errorMessage": DENIED, "result": {}},
        ),
    ]
    assert calls == [
        LingmaToolCall("c1", "list_dir", b'{"path":"."}', "pending", denied=True),
        LingmaToolCall("c1", "list_dir", b'{"path":"."}', "running", denied=True),
    ]
    assert turn.decisions == [Decision("list_dir", False)]


@pytest.mark.parametrize("approval", [ALLOW, ALLOW_LIST])
async def test_allowed_call_is_approved_and_keeps_services_result(course):
    finished = sync("FINISHED", results=[OUTPUT])
    turn, calls, sent = await course(sync(name="list_dir"), sync("RUNNING"), finished, finished)
    assert sent == [
        ("tool/call/approve", {"type": "tool_call", **IDS, "approval": True}),
        (
            "tool/invokeResult",
            {"toolCallId": "c1", "name": "list_dir", "success": True, "errorMessage": "", "result": OUTPUT},
        ),
    ]
    assert [call.state for call in calls] == ["pending", "running", "finished"]
    assert json.loads(calls[-1].result) == [OUTPUT]
    assert turn.decisions == [Decision("list_dir", True)]


@pytest.mark.parametrize("approval", [ALLOW])
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], [True]),
        ([sync("RUNNING")], [True]),
        ([sync("FINISHED")], [True]),
        ([sync(results=[OUTPUT])], [True, True]),
        ([sync("ERROR", errorMsg="no such file")], [True, False]),
        ([sync("ERROR", results=[OUTPUT])], [True, False]),
        ([sync("CANCELLED")], [True, False]),
        ([invoke(**{"async": True})], [True, False]),
        ([invoke(**{"async": True, "result": OUTPUT})], [True, True]),
        ([invoke(**{"async": True}), sync("FINISHED", results=[OUTPUT])], [True, False]),
    ],
)
async def test_success_is_shown_only_if_reported(course, events, expected):
    _, _, sent = await course(sync(name="list_dir"), *events)
    assert verdicts(sent) == expected


@pytest.mark.parametrize(
    ("approval", "more", "success", "error"),
    [
        (Approval(), {}, False, DENIED),
        (Approval(), {"result": OUTPUT}, False, DENIED),
        (ALLOW_LIST, {"name": "mcp", "result": OUTPUT}, False, DENIED),
        (ALLOW_LIST, {"name": "", "result": OUTPUT}, False, DENIED),
        (ALLOW, {}, False, NOT_RUN),
        (ALLOW_LIST, {"result": OUTPUT}, True, ""),
        (ALLOW, {"name": "", "result": OUTPUT}, True, ""),
        (ALLOW, {"requestId": "ended", "result": OUTPUT}, False, DENIED),
    ],
)
async def test_waiting_invocation_gets_one_answer_only(service, course, more, success, error):
    _, _, sent = await course(invoke(**more))
    answered = next(each["result"] for each in service.received if isinstance(each.get("result"), dict))
    assert (answered["success"], answered["errorMessage"]) == (success, error)
    assert answered["result"] == (OUTPUT if success else {})
    assert "tool/invokeResult" not in dict(sent)


@pytest.mark.parametrize("approval", [ALLOW])
async def test_allowed_invocation_learns_that_nothing_runs_here(course):
    _, calls, sent = await course(invoke(**{"async": True}))
    assert verdicts(sent) == [True, False]
    assert sent[1][1]["errorMessage"] == NOT_RUN
    assert calls == [LingmaToolCall("c1", "list_dir", b'{"path":"."}', runner="client")]


@pytest.mark.parametrize("status", ["RUNNING", "finished", "ERROR", "CANCELLED", "REQUEST_FINISHED"])
@pytest.mark.parametrize("approval", [Approval(), ALLOW])
async def test_call_under_way_is_shown_and_not_decided(course, status):
    turn, calls, sent = await course(sync(status))
    assert (len(calls), sent, turn.decisions) == (1, [], [])
    assert not calls[0].denied


@pytest.mark.parametrize("missing", ["requestId", "sessionId"])
@pytest.mark.parametrize("approval", [Approval(), ALLOW])
async def test_round_trip_needs_both_ids(course, missing):
    pending = {key: value for key, value in PENDING.items() if key != missing}
    turn, calls, sent = await course(sync("RUNNING", toolCallId="c1", parameters={}), ("tool/call/sync", pending))
    assert (sent, turn.decisions) == ([], [])
    assert calls[-1].input == b'{"path":"."}'


async def test_later_events_find_turn_by_tool_id(course):
    later = {"toolCallId": "c1", "toolCallStatus": "FINISHED", "results": [OUTPUT]}
    _, calls, _ = await course(sync(name="list_dir"), ("tool/call/sync", later))
    assert (calls[-1].state, json.loads(calls[-1].result)) == ("finished", [OUTPUT])


async def test_events_of_no_turn_are_dropped_and_counted(connection, course):
    dropped = []
    connection.tools.on_unrouted = lambda: dropped.append(1)
    _, calls, sent = await course(
        ("tool/call/sync", {"toolCallId": "never seen", "toolCallStatus": "PENDING"}),
        sync(requestId="ended"),
        ("tool/invoke", {"requestId": "ended", "toolCallId": "c2", "name": "read_file", "async": True}),
        sync("REQUEST_FINISHED", toolCallId=""),
    )
    assert (calls, len(dropped)) == ([], 3)
    assert [(method, params["success"]) for method, params in sent] == [("tool/invokeResult", False)]


async def test_tool_id_of_two_turns_belongs_to_neither(connection, peer, ask):
    dropped = []
    connection.tools.on_unrouted = lambda: dropped.append(1)
    first, second = ask("r1"), ask("r2")
    later = ("tool/call/sync", {"toolCallId": "c1", "toolCallStatus": "FINISHED", "results": [OUTPUT]})
    await peer.push(sync("RUNNING"), sync("RUNNING", requestId="r2"), later, finish("r1"), later, finish("r2"))
    assert [piece.state for piece in await received_pieces(first)] == ["running"]
    assert [piece.state for piece in await received_pieces(second)] == ["running", "finished"]
    assert len(dropped) == 1


async def test_tool_ids_are_forgotten_with_their_turn(connection, course):
    dropped = []
    await course(sync("RUNNING"))
    connection.tools.on_unrouted = lambda: dropped.append(1)
    _, calls, _ = await course(("tool/call/sync", {"toolCallId": "c1", "toolCallStatus": "FINISHED"}), request_id="r2")
    assert (calls, dropped) == ([], [1])


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_name_from_text_opens_no_list(course):
    """The model writes the text as it likes, so a card there may say anything."""
    turn, calls, sent = await course(answer("\n```toolCall::list_"), answer("dir::c1::INIT\n```\n"), sync())
    assert (calls[0].name, verdicts(sent)) == ("list_dir", [False, False])
    assert turn.decisions == [Decision("list_dir", False)]


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_nameless_invocation_takes_no_name_from_text(service, course):
    card = answer("```toolCall::list_dir::c1::INIT\n```\n")
    await course(card, sync("RUNNING"), invoke(name="", result=OUTPUT))
    (sent,) = [each["result"] for each in service.received if "success" in (each.get("result") or {})]
    assert (sent["success"], sent["result"]) == (False, {})


@pytest.mark.parametrize("approval", [ALLOW])
async def test_name_from_text_is_harmless_without_restrictions(course):
    _, _, sent = await course(answer("```toolCall::list_dir::c1::INIT\n```\n"), sync())
    assert verdicts(sent) == [True]


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_a_card_that_another_contradicts_names_nothing(course):
    cards = answer("```toolCall::list_dir::c1::INIT\n```\n```toolCall::run_in_terminal::c1::INIT\n```\n")
    turn, _, sent = await course(cards, sync())
    assert (verdicts(sent), turn.decisions) == ([False, False], [Decision("tool", False)])


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_call_allowed_under_another_name_is_denied(course):
    turn, calls, sent = await course(sync(name="list_dir"), invoke(name="run_in_terminal", **{"async": True}))
    assert verdicts(sent) == [True, False, False]
    assert (sent[-1][1]["name"], sent[-1][1]["errorMessage"]) == ("run_in_terminal", DENIED)
    assert turn.decisions == [Decision("list_dir", True), Decision("run_in_terminal", False)]
    assert calls[-1].denied


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_waiting_invocation_under_forbidden_name_gets_no_result(service, course):
    await course(sync(name="list_dir"), invoke(name="run_in_terminal", result=OUTPUT))
    (sent,) = [each["result"] for each in service.received if "success" in (each.get("result") or {})]
    assert (sent["name"], sent["success"], sent["result"]) == ("run_in_terminal", False, {})


async def test_name_of_event_beats_name_of_card(course):
    _, calls, _ = await course(answer("```toolCall::list_dir::c1::INIT\n```\n"), sync(), invoke(name="delete_file"))
    assert [call.name for call in calls] == ["list_dir", "delete_file"]


@pytest.mark.parametrize("approval", [ALLOW_LIST])
async def test_unnamed_call_is_denied_and_named_when_invoked(course):
    turn, calls, sent = await course(sync(), invoke(**{"async": True}))
    assert [call.name for call in calls] == ["tool", "list_dir"]
    assert (verdicts(sent), turn.decisions) == ([False, False], [Decision("tool", False)])


@pytest.mark.parametrize(
    "event",
    [
        ("tool/call/approve", IDS | {"approval": True}),
        ("tool/invokeResult", IDS | {"name": "list_dir", "success": True, "result": OUTPUT, "errorMessage": ""}),
    ],
)
@pytest.mark.parametrize("approval", [Approval(), ALLOW])
async def test_other_clients_actions_are_shown_and_start_nothing(course, event):
    turn, calls, sent = await course(event)
    assert (len(calls), sent, turn.decisions) == (1, [], [])


async def test_invocation_of_ended_call_is_answered(course):
    _, _, sent = await course(sync("ERROR"), invoke(**{"async": True}))
    assert verdicts(sent) == [False, False]


async def test_decisions_are_counted(course):
    def counted():
        return REGISTRY.get_sample_value("lingma_gateway_tool_decisions_total", {"decision": "denied"}) or 0

    before = counted()
    await course(sync(), sync(toolCallId="c2"), sync(toolCallId="c2"))
    assert counted() == before + 2


async def test_excess_calls_are_dropped_and_not_run(connection, peer, ask):
    dropped = []
    connection.tools.on_unrouted = lambda: dropped.append(1)
    turn = ask()
    await peer.together(*[sync("RUNNING", toolCallId=f"c{number}") for number in range(MOST_CALLS + 3)], finish())
    assert (len(await received_pieces(turn)), len(dropped)) == (MOST_CALLS, 3)


async def test_text_and_calls_keep_their_order(peer, ask):
    turn = ask()
    await peer.push(answer("before "), sync("RUNNING", name="list_dir"), answer("after"), finish())
    assert [type(piece) for piece in await received_pieces(turn)] == [TextDelta, LingmaToolCall, TextDelta]
    assert turn.text == "before after"

"""The OpenAI Agents SDK: its loop calls tools until there is an answer, over both of OpenAI's APIs."""

import os

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)  # fmt: skip
from obedience import call, tell
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
MODELS = [OpenAIChatCompletionsModel, OpenAIResponsesModel]


@pytest.fixture(params=MODELS, ids=lambda model: model.__name__)
async def model(request):
    client = AsyncOpenAI(base_url=f"{os.environ['GATEWAY_BASE']}/v1", api_key=os.environ["GATEWAY_KEY"], max_retries=0)
    async with client:
        yield request.param(model="org_auto", openai_client=client)


@pytest.fixture
def added():
    return []


@pytest.fixture
def tools(added):
    @function_tool
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        added.append((a, b))
        return f"the sum is {a + b}"

    return [add]


STEPS = [*call("add", a=2, b=3), *call("add", a=5, b=4), {"say": "Done: {{last_result}}"}]


async def test_tool_loop(model, tools, added):
    tell(plan=STEPS)
    result = await Runner.run(Agent("adder", instructions="Add.", model=model, tools=tools), "2 + 3 + 4?")
    assert added == [(2, 3), (5, 4)]
    assert result.final_output == "Done: the sum is 9"


async def test_tool_loop_streamed(model, tools, added):
    tell(plan=STEPS)
    run = Runner.run_streamed(Agent("adder", instructions="Add.", model=model, tools=tools), "2 + 3 + 4?")
    kinds = [event.name async for event in run.stream_events() if event.type == "run_item_stream_event"]
    assert added == [(2, 3), (5, 4)]
    assert run.final_output == "Done: the sum is 9"
    assert (kinds.count("tool_called"), kinds.count("tool_output")) == (2, 2)


async def test_forced_tool_runs_in_parallel_calls(model, tools, added):
    tell(plan=[{"calls": [{"call": "add", "arguments": {"a": n, "b": n}} for n in (1, 2)]}, {"say": "Both done."}])
    settings = ModelSettings(tool_choice="required", parallel_tool_calls=True)
    agent = Agent("adder", model=model, tools=tools, model_settings=settings)
    assert (await Runner.run(agent, "1 + 1 and 2 + 2?")).final_output == "Both done."
    assert sorted(added) == [(1, 1), (2, 2)]


async def test_handoff_reaches_the_other_agent(model, tools, added):
    tell(plan=[*call("transfer_to_adder"), *call("add", a=1, b=2), {"say": "{{last_result}}"}])
    adder = Agent("adder", model=model, tools=tools)
    result = await Runner.run(Agent("triage", model=model, handoffs=[adder]), "1 + 2?")
    assert (result.last_agent.name, added) == ("adder", [(1, 2)])


async def test_output_has_the_type_asked_for(model):
    class Sum(BaseModel):
        total: int

    tell(plan=[{"say": '{"total": 5}'}])
    result = await Runner.run(Agent("adder", model=model, output_type=Sum), "2 + 3?")
    assert result.final_output == Sum(total=5)

"""Names that operators give to models: listed, taken, echoed, and what they change in a turn."""

import json

import anthropic
import openai
import pytest

from tests.e2e.agents import APIS, CLOCK, ChatAgent, MessagesAgent, call, client_of, plan
from tests.e2e.installation import django, until

ALIASES = """
from bridge.models import ModelAlias
def add(pattern, **fields): ModelAlias.objects.create(pattern=pattern, position=1, **fields)
add("house-model", lingma_model="Qwen3.6-Plus", display_name="The house's own")
add("forwarding-*", tool_mode="forward")
add("bridging", tool_mode="bridge")
add("agentic", ask_mode="agent")
add("pensive", thinking="on")
add("quiet", thinking="off", lingma_model="gone_model")
"""


@pytest.fixture(scope="module")
def named(mortal):
    """A gateway whose operator has named models while it ran."""
    django(mortal.data_dir, ALIASES)
    until(lambda: "house-model" in listed(mortal))
    return mortal


def listed(gateway):
    return [model.id for model in client_of(gateway, openai.OpenAI).models.list()]


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


def agent_of(api, gateway, stream, model, tools=()):
    return api(gateway, stream, tools=tools, more={"model": model})


def test_names_are_listed_and_patterns_are_not(named):
    names = listed(named)
    assert {"org_auto", "house-model", "bridging", "agentic"} <= set(names)
    assert not any("*" in name for name in names)
    model = client_of(named, anthropic.Anthropic).models.retrieve("house-model")
    assert (model.id, model.display_name) == ("house-model", "The house's own")


def test_answer_has_the_requested_name(named, api, stream):
    done = agent_of(api, named, stream, "house-model").ask("[[sim: echo=params]]")
    assert done.whole.model == "house-model"
    assert done.headers["x-lingma-model"] == "dashscope_qmodel"
    asked = json.loads(done.text)
    assert "dashscope_qmodel" in json.dumps(asked["extra"])


def test_unknown_model_means_the_default(named, api, stream):
    done = agent_of(api, named, stream, "quiet").ask("[[sim: text=hi]]")
    assert (done.whole.model, done.headers["x-lingma-model"]) == ("quiet", "org_auto")


def test_a_name_decides_what_becomes_of_tools(named, api, stream):
    done = agent_of(api, named, stream, "forwarding-9", (CLOCK,)).ask("[[sim: echo=params]]")
    asked = json.loads(done.text)
    assert (asked["mode"], "toolConfig" in asked, done.session) == ("agent", True, "off")
    asked = json.loads(agent_of(api, named, stream, "bridging", (CLOCK,)).ask("[[sim: echo=params]]").text)
    assert (asked["mode"], "toolConfig" in asked) == ("agent", False)
    done = agent_of(api, named, stream, "house-model", (CLOCK,)).ask(plan(call("clock")))
    assert (done.names, done.session) == (["clock"], "new")


@pytest.mark.parametrize("model", ["agentic", "agent", "lingma-agent"])
def test_a_name_decides_how_the_service_is_asked(named, api, stream, model):
    done = agent_of(api, named, stream, model).ask("[[sim: echo=params]]")
    assert (json.loads(done.text)["mode"], done.whole.model) == ("agent", model)


def test_tools_stand_in_the_prompt_in_agent_mode(named, api, stream):
    agent = agent_of(api, named, stream, "lingma-agent", (CLOCK,))
    first = agent.ask(plan(call("clock"), {"say": "It is {{last_result}}."}))
    assert (first.names, first.session) == (["clock"], "off")
    second = agent.answer(first, "noon")
    assert second.text == "It is noon."


def test_model_name_decides_reasoning_unless_request_does(named, stream):
    think = plan({"think": "Hm.", "say": "Yes."})
    assert agent_of(ChatAgent, named, stream, "pensive").ask(think).thinking == "Hm."
    assert agent_of(ChatAgent, named, stream, "quiet").ask(think).thinking == ""
    assert agent_of(ChatAgent, named, stream, "quiet").ask(think, **ChatAgent.thinks).thinking == "Hm."
    off = {"thinking": {"type": "disabled"}}
    assert agent_of(MessagesAgent, named, stream, "pensive").ask(think, **off).thinking == ""


def test_a_change_of_names_reaches_a_running_gateway(named):
    django(
        named.data_dir, 'from bridge.models import ModelAlias\nModelAlias.objects.create(pattern="late", position=2)'
    )
    until(lambda: "late" in listed(named))
    django(named.data_dir, 'from bridge.models import ModelAlias\nModelAlias.objects.get(pattern="late").delete()')
    assert until(lambda: "late" not in listed(named))

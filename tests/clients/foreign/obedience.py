"""What the model of a foreign test does: a plan for the simulator, by the test's name."""

import json
import os
from pathlib import Path

import pytest

CONTROL = Path(os.environ["SIMULATOR_CONTROL"])
JOKE = {"setup": "Why do cats code?", "punchline": "For the mice."}


def call(tool, **arguments):
    return [{"call": tool, "arguments": arguments}]


PLANS = {
    "test_tool_calling": call("magic_function", input=3),
    "test_tool_calling_async": call("magic_function", input=3),
    "test_tool_choice": call("magic_function", input=3),
    "test_tool_calling_with_no_arguments": call("magic_function_no_args"),
    "test_bind_runnables_as_tools": call("greeting_generator", answer_style="Pirate"),
    "test_structured_few_shot_examples": call("my_adder_tool", a=3, b=4),
    "test_agent_loop": [*call("get_weather", location="San Francisco, CA"), {"say": "It is sunny there."}],
    "test_unicode_tool_call_integration": call(
        "unicode_customer", customer_name="你好啊集团, こんにちは株式会社", description="A company"
    ),
}


def jokes(test, name, schema):
    """A call of the schema's name where the client asks with tools, else the text."""
    if "Anthropic" not in test or name.endswith("optional_param"):  # which asks for tools of two names
        return [{"say": json.dumps(JOKE)}]
    return call("JokeDict" if schema == "typeddict" else "Joke", **JOKE)


def tell(**knobs):
    """From now on the simulator does this."""
    draft = CONTROL.with_name("foreign.json")
    draft.write_text(json.dumps(knobs))
    draft.rename(CONTROL)


@pytest.fixture(autouse=True)
def the_model_obeys(request):
    name, params = request.node.originalname, getattr(request.node, "callspec", None)
    plan = PLANS.get(name)
    if plan is None and ("structured_output" in name or "json_mode" in name):
        plan = jokes(request.node.cls.__name__, name, params and params.params.get("schema_type"))
    tell(**({"plan": plan} if plan else {"text": "Hello, how are you today?"}))

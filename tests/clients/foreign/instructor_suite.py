"""instructor: objects out of models, by tools and by schemas, whole and in parts, with its own second try."""

import json
import os
from collections.abc import Iterable

import anthropic
import instructor
import openai
import pytest
from obedience import call, tell
from pydantic import BaseModel, field_validator

BASE, KEY = os.environ["GATEWAY_BASE"], os.environ["GATEWAY_KEY"]
ADA = {"name": "Ada", "age": 36, "tags": ["math"]}
ASKED = [{"role": "user", "content": "Who is it? Answer about Ada, who is 36."}]


class Person(BaseModel):
    name: str
    age: int
    tags: list[str] = []

    @field_validator("age")
    @classmethod
    def grown_up(cls, age):
        if age < 18:
            raise ValueError("say an age of at least 18")
        return age


MODES = [
    *(("openai", name) for name in ("TOOLS", "PARALLEL_TOOLS", "JSON", "JSON_SCHEMA", "MD_JSON", "RESPONSES_TOOLS")),
    *(("anthropic", name) for name in ("TOOLS", "JSON")),
]
RETRIED = [("openai", "TOOLS"), ("openai", "JSON_SCHEMA"), ("anthropic", "TOOLS")]
STREAMED = [("openai", "TOOLS"), ("openai", "JSON"), ("anthropic", "TOOLS")]


class Client:
    """instructor around an SDK, in one of its modes."""

    def __init__(self, provider, mode):
        self.mode = mode
        self.limit = {"max_tokens": 500} if provider == "anthropic" else {}
        if provider == "anthropic":
            self.plain = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0)
            self.wrapped = instructor.from_anthropic(self.plain, mode=instructor.Mode[mode])
        else:
            self.plain = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)
            self.wrapped = instructor.from_openai(self.plain, mode=instructor.Mode[mode])

    def model_says(self, *answers, tool="Person"):
        text = "```json\n{}\n```" if self.mode == "MD_JSON" else "{}"
        said = [call(tool, **answer) if "TOOLS" in self.mode else [{"say": text.format(json.dumps(answer))}]
                for answer in answers]  # fmt: skip
        tell(plan=[step for steps in said for step in steps])

    def ask(self, create, **more):
        return getattr(self.wrapped, create)(model="org_auto", messages=ASKED, **self.limit, **more)


@pytest.fixture
def client(request):
    client = Client(*request.param)
    with client.plain:
        yield client


def over(modes):
    return pytest.mark.parametrize("client", modes, indirect=True, ids=map("-".join, modes))


@over(MODES)
def test_an_object(client):
    client.model_says(ADA)
    if client.mode == "PARALLEL_TOOLS":
        [found] = client.ask("create", response_model=Iterable[Person])
    else:
        found = client.ask("create", response_model=Person)
    assert found.model_dump() == ADA


@over(RETRIED)
def test_a_second_try(client):
    client.model_says(ADA | {"age": 3}, ADA)
    assert client.ask("create", response_model=Person, max_retries=2).model_dump() == ADA


@over(STREAMED)
def test_an_object_in_parts(client):
    client.model_says(ADA, tool="PartialPerson")
    assert list(client.ask("create_partial", response_model=Person))[-1].model_dump() == ADA

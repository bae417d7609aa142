"""A service that refuses turns for a while: others take them, and one turn tries it again. A short chat asks it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import Gateway, django, until

STREAMS = 20
REFUSES = {"fault": "finish_code", "after": 0, "finish": 429}


@pytest.fixture(scope="module")
def three(tmp_path_factory, template):
    """Instances that are left alone when they refuse."""
    more = {"LINGMA_INSTANCES": "3", "LINGMA_COOL_MAX_SEC": "4", "LINGMA_SIMULATOR_DELAY_MS": "20"}
    with Gateway(tmp_path_factory.mktemp("three"), template, **more) as running:
        yield running


def ask(gateway, number):
    return gateway.ask(OPENAI, f'[[sim: text="well done" chunks=8]] {number}', stream=True)


def states(gateway):
    return {each["name"]: each["state"] for each in send(gateway, "GET", "/readyz").json()["instances"]}


def all_ready(gateway):
    return until(lambda: set(states(gateway).values()) == {"ready"} and len(states(gateway)) == 3)


def test_storm_of_one_login_fails_no_stream(three):
    all_ready(three)
    three.control("w1-i1", **REFUSES)
    with ThreadPoolExecutor(STREAMS) as pool:
        storm = pool.map(lambda number: ask(three, number), range(4 * STREAMS))
        answers = list(storm)
    assert {(each.status, each.text, each.error) for each in answers} == {(200, "well done", None)}
    assert {each.headers["x-lingma-instance"] for each in answers} == {"w1-i2", "w1-i3"}
    three.control("w1-i1")
    # It is asked again by one turn, and then takes its share.
    until(lambda: ask(three, "again").headers["x-lingma-instance"] == "w1-i1")
    all_ready(three)


def test_client_is_told_when_all_refuse(three):
    all_ready(three)
    names = ("w1-i1", "w1-i2", "w1-i3")
    for name in names:
        three.control(name, **REFUSES, reason="please retry after 3 seconds")
    answer = until(lambda: (found := ask(three, "refused")).status == 429 and found)
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    for name in names:
        three.control(name)
    assert until(lambda: ask(three, "back").status == 200)
    all_ready(three)


def test_smoke_asks_each_instance_and_reports(three):
    all_ready(three)
    three.control("w1-i2", fault="finish_code", after=0, finish=500)
    django(three.data_dir, "from django.core.management import call_command; call_command('pool', 'smoke', 'all')")

    def reports():
        with three.redis() as client:
            beats = [json.loads(client.get(key)) for key in client.keys("lgw:instance:*")]
        found = {each["name"]: each["smoke"]["ok"] for each in beats if each.get("smoke")}
        return len(found) == 3 and found

    assert until(reports) == {"w1-i1": True, "w1-i2": False, "w1-i3": True}
    three.control("w1-i2")

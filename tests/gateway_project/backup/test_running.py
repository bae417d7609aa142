"""A backup that is taken while a gateway serves turns, and what a restore says to one that runs."""

import threading

import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import FAST, KEY, until
from tests.e2e.whole import filed, start
from tests.gateway_project.backup.installations import refusal, run
from tests.gateway_project.gateway import Gateway


def ask(gateway):
    answer = send(gateway, "POST", OPENAI.path, key=KEY, body=OPENAI.body("[[sim: text=x]] x"))
    assert answer.status == 200
    return answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def taken(tmp_path_factory, template):
    """A backup of a gateway that served turns meanwhile, those that had ended before, and what a restore said there."""
    folder, ended, stop = tmp_path_factory.mktemp("running"), [], threading.Event()

    def load(gateway):
        while not stop.wait(0.1):
            ended.append(ask(gateway))

    with start(folder / "data", template) as gateway:
        gateway.complete()
        until(lambda: send(gateway, "GET", "/readyz").status == 200)
        asking = threading.Thread(target=load, args=[gateway])
        asking.start()
        try:
            until(lambda: len(ended) > 20)
            before = list(ended)
            said = run(folder / "data", "backup", folder / "backup").stderr
            running = refusal(folder / "data", "restore", folder / "backup", "--replace")
        finally:
            stop.set()
            asking.join(60)
    return folder / "backup", before, said, running


@pytest.fixture(scope="module")
def restored(tmp_path_factory, taken):
    data_dir = tmp_path_factory.mktemp("restored") / "data"
    run(data_dir, "restore", taken[0])
    return data_dir


def test_running_gateway_is_backed_up_not_restored(taken):
    _, before, said, running = taken
    assert len(before) > 20
    assert said == ""
    assert "another gateway is running" in running


def test_turns_that_had_ended_are_in_it(taken, restored):
    assert [each for each in taken[1] if not filed(restored, each)] == []
    assert run(restored, "reconcile_usage").stdout.startswith("The ledger adds up")


def test_gateway_starts_on_what_was_restored(restored):
    with Gateway(restored, **FAST) as gateway:
        gateway.complete()
        until(lambda: send(gateway, "GET", "/readyz").status == 200)
        last = ask(gateway)
        assert until(lambda: filed(restored, last))

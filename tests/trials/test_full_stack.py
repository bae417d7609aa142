"""Everything at once, and the loss of a part of it: no request fails before its first byte."""

import json
import shutil

import psycopg
import pytest

from tests.clients import install, test_node_sdks
from tests.clients.task import ANSWER, COMMAND, MODEL, PROMPT, Folder
from tests.clients.test_python_sdks import PLAN, Tools, chat, messages, responses, runner
from tests.e2e.installation import KEY, until
from tests.trials.full_stack import IS_THERE, Load, full_stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not IS_THERE, reason="there is no nginx on this machine"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with full_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.mark.parametrize("client", [chat, responses, messages, runner], ids=lambda client: client.__name__)
def test_sdks_run_their_tools_through_nginx(stack, tmp_path, client):
    assert PLAN[-2:] == [{"say": "Copying.", "call": "run", "arguments": {"command": COMMAND}}, ANSWER]
    folder = Folder(tmp_path / "folder")
    stack.control(plan=PLAN)
    told = client(stack.base, Tools(folder.work))
    stack.control()
    assert (told.strip(), folder.is_done()) == ("Done, as the last result proves: copied goodbye", True)


NODE = install.PLACE / "node"


@pytest.mark.skipif(not (NODE / "installed").exists(), reason="Node's SDKs are not there: `make test-clients` has them")
@pytest.mark.parametrize(("script", "package"), test_node_sdks.RUNS)
def test_node_sdks_run_their_tools_through_nginx(stack, tmp_path, script, package):
    folder = Folder(tmp_path / "folder")
    stack.control(plan=test_node_sdks.PLAN)
    script = test_node_sdks.SCRIPTS / f"{script}.cjs"
    told = folder.run(["node", script, NODE / "node_modules", package, stack.base, KEY, MODEL, PROMPT])
    stack.control()
    told = json.loads(told.splitlines()[-1])
    assert (told["rounds"], folder.is_done()) == (4, True)
    assert told["text"].strip() == "Done, as the last result proves: copied goodbye"


def filed(stack, ids):
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM accounts_usage WHERE request_id = ANY(%s)", [list(ids)])
        return found.fetchone() == (len(ids),)


def test_lost_machine_costs_no_request(stack):
    _, south = stack.machines
    with Load(stack.port) as load:
        load.goes_on()
        south.lose()
        load.goes_on(80)
        south.end()
        south.start()
        load.goes_on()
    assert load.of("failed") == []
    # What streamed on it had begun: its client sees an end without an ending.
    assert len(load.of("broken")) <= load.clients
    until(lambda: filed(stack, load.ids), 90)


def test_rolling_restart_costs_nothing(stack):
    with Load(stack.port) as load:
        for machine in stack.machines:
            load.goes_on()
            assert machine.stop() == (0, "")
            machine.end()
            machine.start()
            # Before the next one stops, as nginx passes nothing on to one that it has not tried again.
            load.reaches(machine)
        load.goes_on()
    assert load.of("failed", "broken") == []
    until(lambda: filed(stack, load.ids), 90)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="there is no Prometheus on this machine")
def test_prometheus_sees_every_machine(stack):
    def found():
        answer = stack.asked_prometheus("query?query=sum(up)")["result"]
        return bool(answer) and answer[0]["value"][1] == "2"

    def healths():
        return {rule["health"] for group in stack.asked_prometheus("rules")["groups"] for rule in group["rules"]}

    assert until(found, 60)
    assert until(lambda: healths() == {"ok"}, 60)

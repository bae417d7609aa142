"""docs/operations.md, "From nothing to a team": what needs no container engine is run as it stands there."""

import json
import os
import re
import shutil
import subprocess
import time
from urllib.request import urlopen

import pytest

from accounts.keys.snippets import setups
from tests.gateway_project.gateway import ROOT, Gateway
from tests.ports import free_port
from tests.receiver import Receiver

SECTION = (ROOT / "docs/operations.md").read_text().partition("## From nothing to a team\n")[2].partition("\n## ")[0]
STEPS = dict(re.findall(r"^### \d\. (.+?)\n(.*?)(?=^### |\Z)", SECTION, re.MULTILINE | re.DOTALL))
PATIENCE = 60


def commands(step):
    """The blocks of a step."""
    return re.findall(r"^```sh\n(.*?)^```$", STEPS[step], re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A gateway as `make run` starts it, and a folder that looks like its clone."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "docker", clone / "docker", ignore=shutil.ignore_patterns("secrets"))
    for name in (".venv", "manage.py"):
        (clone / name).symlink_to(ROOT / name)
    quick = {"LINGMA_SIMULATOR_FIRST_MS": "0", "LINGMA_SIMULATOR_DELAY_MS": "0"}
    data_dir = tmp_path_factory.mktemp("data")
    with Gateway(data_dir, DATABASE_URL="", **quick) as gateway:
        gateway.complete()
        gateway.clone, gateway.data_dir = clone, data_dir
        yield gateway


def environment(gateway):
    mine = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return mine | {"DATA_DIR": str(gateway.data_dir), "DATABASE_URL": "", "PORT": str(gateway.port)}


def run(gateway, text):
    """What a terminal in the clone shows."""
    here = text.replace("127.0.0.1:8317", f"127.0.0.1:{gateway.port}")
    done = subprocess.run(
        ["sh", "-euc", here], capture_output=True, text=True, timeout=120, env=environment(gateway), cwd=gateway.clone
    )
    assert done.returncode == 0, done
    return done.stdout


def test_first_key_is_answered(started):
    [make] = commands("Make a key")
    answer = json.loads(run(started, make))
    assert answer["content"][0]["text"].startswith("This is a simulated answer")


def test_claude_code_is_set_up_as_elsewhere():
    [shown] = commands("Claude Code")
    [text] = [each.text for each in setups("http://127.0.0.1:8317", "$LINGMA_GATEWAY_KEY", "org_auto")
              if each.client == "Claude Code"]  # fmt: skip
    assert set(text.splitlines()) <= set(shown.splitlines())


def test_limited_key_is_refused_beyond_its_limit(started):
    make, use_up = commands("A second team with a limited key")
    # One shell: the key is in a variable of it.
    said = run(started, f"{make}echo\n{use_up}")
    report, *statuses = said.split("\n", 1)[0], *re.findall(r"^\d{3}$", said, re.MULTILINE)
    usage = json.loads(report)
    assert (usage["name"], usage["team"]) == ("bob", "second")
    assert {each["name"]: each["limit"] for each in usage["limits"]} == {"rpm": 20, "tokens_day": 200_000}
    assert sorted(statuses) == ["200"] * 20 + ["429"]


@pytest.mark.skipif(not shutil.which("prometheus"), reason="there is no prometheus on this machine")
def test_prometheus_reads_the_metrics(started):
    text = commands("Grafana")[1]
    path = started.clone / "docker/prometheus/one-machine.yml"
    path.write_text(path.read_text().replace("127.0.0.1:8317", f"127.0.0.1:{started.port}").replace("15s", "1s"))
    *before, start = text.strip().splitlines()
    port = free_port()
    run(started, "\n".join(before))
    command = f"exec {start} --web.listen-address=127.0.0.1:{port}"
    server = subprocess.Popen(["sh", "-c", command], cwd=started.clone, stderr=subprocess.DEVNULL)
    try:
        assert until_up(f"http://127.0.0.1:{port}/api/v1/query?query=up")
    finally:
        server.terminate()
        server.wait(PATIENCE)


def until_up(url):
    """Whether what is scraped has answered, before long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            found = []
        if [each["value"][1] for each in found] == ["1"]:
            return True
        time.sleep(0.2)
    return False


def test_grafana_is_sent_source_and_boards(started):
    text = commands("Grafana")[2]
    with Receiver() as grafana:
        run(started, text.replace("127.0.0.1:3000", f"127.0.0.1:{grafana.server_port}"))
    source, *boards = map(json.loads, grafana.bodies)
    assert grafana.paths == {"/api/datasources", "/api/dashboards/db"}
    assert [each["dashboard"]["uid"] for each in boards] == ["lingma-overview", "lingma-pool", "lingma-clients"]
    asked = {target["datasource"]["uid"] for each in boards for panel in each["dashboard"]["panels"]
             for target in panel["targets"]}  # fmt: skip
    assert asked == {source["uid"]}

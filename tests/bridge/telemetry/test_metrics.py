"""What Prometheus sees of the gateway."""

import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.telemetry import metrics


class Row(msgspec.Struct):
    protocol: str = "openai"
    endpoint: str = "chat"
    lingma_model: str = "org_auto"
    session: str = "reused"
    status: str = "ok"
    reason: str = "stop"
    queue_ms: int = 40
    first_token_ms: int | None = 120
    total_ms: int = 1120
    prompt_tokens: int = 30
    completion_tokens: int = 11
    usage_source: str = "upstream"


def samples(page=None):
    families = text_string_to_metric_families((page or metrics.render()).decode())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def counted(row):
    """What one turn adds, as {(name, label values…): difference}."""
    before = samples()
    metrics.turn_finished(row, 0)
    metrics.count_turns()
    return {name: value - before.get(name, 0) for name, value in samples().items() if value != before.get(name, 0)}


def test_turn_counts_by_protocol_endpoint_model_and_ending():
    added = counted(Row(lingma_model="m1"))
    assert added["lingma_gateway_requests_total", "chat", "m1", "ok", "openai", "stop"] == 1
    assert added["lingma_gateway_sessions_total", "reused"] == 1


def test_times_are_seconds_under_conventional_names():
    added = counted(Row(lingma_model="m2"))
    assert added["gen_ai_server_request_duration_seconds_sum", "", "chat", "lingma", "m2"] == pytest.approx(1.12)
    assert added["gen_ai_server_time_to_first_token_seconds_sum", "chat", "lingma", "m2"] == pytest.approx(0.12)
    assert added["gen_ai_server_time_per_output_token_seconds_sum", "chat", "lingma", "m2"] == pytest.approx(0.1)
    assert added["lingma_gateway_queue_time_seconds_sum",] == pytest.approx(0.04)


def test_tokens_have_kind_and_source():
    added = counted(Row(lingma_model="m3", usage_source="estimate"))
    name = "gen_ai_client_token_usage_sum"
    assert added[name, "chat", "estimate", "input", "lingma", "m3"] == 30
    assert added[name, "chat", "estimate", "lingma", "m3", "output"] == 11


def test_failed_turn_has_error_and_no_speed():
    added = counted(Row(lingma_model="m4", status="error", reason="timeout"))
    assert added["gen_ai_server_request_duration_seconds_count", "chat", "lingma", "m4", "timeout"] == 1
    assert not [name for name in added if name[0].startswith("gen_ai_server_time_per_output_token")]


def test_refused_turn_has_no_session_or_tokens():
    added = counted(Row(lingma_model="", status="refused", reason="rate_limited", session="off", prompt_tokens=9))
    assert not [name for name in added if "sessions" in name[0] or "token" in name[0] or "queue" in name[0]]


@pytest.fixture
def amid_the_taking():
    """`amid_the_taking(work)`: in another thread, when the next one is about to take what was noted."""
    with ThreadPoolExecutor(1) as pool:

        def amid_the_taking(work):
            def looked(_frame, event, called):
                if event == "c_call" and called.__name__ == "popleft":
                    sys.setprofile(None)
                    pool.submit(work).result(60)

            sys.setprofile(looked)

        yield amid_the_taking
        sys.setprofile(None)


def test_each_turn_counts_once_beside_a_render(amid_the_taking):
    before = samples()
    for _ in range(5):
        metrics.turn_finished(Row(lingma_model="m9"), 0)
    amid_the_taking(metrics.count_turns)
    metrics.count_turns()
    for _ in range(5):
        metrics.tools_counted({"parsed": 1}, "m9", "codex")
    amid_the_taking(metrics.count_turns)
    metrics.count_turns()
    after = samples()
    for name in (
        ("lingma_gateway_requests_total", "chat", "m9", "ok", "openai", "stop"),
        ("lingma_gateway_tool_calls_total", "codex", "m9", "parsed"),
    ):
        assert after[name] - before.get(name, 0) == 5


MODELS_WITHOUT_END = textwrap.dedent("""
    import sys
    from bridge.telemetry import metrics
    from tests.bridge.telemetry.test_metrics import Row
    for number in range(300):
        metrics.turn_finished(Row(lingma_model=f"invented-{number}"), 0)
    sys.stdout.buffer.write(metrics.render())
""")


def test_calls_count_by_outcome_model_and_program():
    before = samples()
    for _ in range(2):
        metrics.tools_counted({"parsed": 2, "repaired": 1}, "m5", "claude-code")
    added = {name: value - before.get(name, 0) for name, value in samples().items() if "m5" in name}
    name = "lingma_gateway_tool_calls_total"
    assert added == {(name, "claude-code", "m5", "parsed"): 4, (name, "claude-code", "m5", "repaired"): 2}


def test_invented_models_do_not_make_series_without_end():
    page = subprocess.run([sys.executable, "-c", MODELS_WITHOUT_END], stdout=subprocess.PIPE, check=True).stdout
    models = set(re.findall(rb'requests_total\{.*model="([^"]*)"', page))
    assert len(models) == metrics.MOST_MODELS + 1
    assert b"other" in models


def test_an_instance_is_in_one_state():
    metrics.instance_changed("w9-i1", "starting")
    metrics.instance_changed("w9-i1", "ready")
    states = {name[1:]: value for name, value in samples().items() if name[0] == "lingma_gateway_instance_state"}
    assert [name for name, value in states.items() if value and "w9-i1" in name] == [("ready", "w9-i1")]


def test_database_and_cache_metrics_are_on_the_page(db):
    from django.contrib.auth.models import User
    from django.core.cache import cache

    User.objects.count()
    cache.get("nothing")
    names = {name for name, *_ in samples()}
    assert {"django_db_execute_total", "django_cache_get_total"} <= names


PROCESS = textwrap.dedent("""
    import sys
    from bridge.telemetry import metrics
    metrics.RETRIES.inc()
    metrics.IN_FLIGHT.set(3)
    metrics.REDIS_AVAILABLE.set(int(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    sys.stdout.buffer.write(metrics.render())
""")


@pytest.fixture
def two_processes(tmp_path):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    argv = [sys.executable, "-c", PROCESS]
    started = [
        subprocess.Popen([*argv, up], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for up in ("0", "1")
    ]
    for process in started:
        assert process.stdout.readline() == b"ready\n"
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_any_process_shows_the_sum_of_all(two_processes):
    seen = samples(two_processes[1].communicate(b"\n")[0])
    assert seen["lingma_gateway_retries_total",] == 2
    assert seen["lingma_gateway_in_flight",] == 6
    assert seen["lingma_gateway_redis_available",] == 0


def test_dead_process_leaves_counts_and_no_gauges(two_processes):
    two_processes[0].kill()
    two_processes[0].wait()
    seen = samples(two_processes[1].communicate(b"\n")[0])
    assert seen["lingma_gateway_retries_total",] == 2
    assert seen["lingma_gateway_in_flight",] == 3
    assert seen["lingma_gateway_redis_available",] == 1

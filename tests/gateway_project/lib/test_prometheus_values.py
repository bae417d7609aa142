"""Counts where the disk takes nothing: a limit on the size of files stands for a full one."""

import os
import subprocess
import sys
import textwrap

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.prepared import run_code

START = textwrap.dedent("""
    import logging, os, resource, sys
    logging.basicConfig(level="INFO")
    from gateway_project.lib.prometheus_values import install_fast_values, write_files
    install_fast_values()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    fill = lambda size=0: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    empty = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    show = lambda: sys.stdout.buffer.write(metrics.render())
    def count(times=1000):
        for number in range(times):
            metrics.SESSIONS.labels(f"outcome-{number}").inc()
        metrics.IN_FLIGHT.set(7)
""")


def counting_in(directory):
    return os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}


def run(directory, program):
    """What a process that counts shows and logs."""
    done = run_code(START + textwrap.dedent(program), str(directory), env=counting_in(directory))
    page = text_string_to_metric_families(done.stdout)
    return {(s.name, *s.labels.values()): s.value for family in page for s in family.samples}, done.stderr


@pytest.fixture
def other(tmp_path):
    """A process that shows what is in the files of others."""
    return lambda: run(tmp_path, "from bridge.telemetry import metrics\nshow()")[0]


@pytest.mark.parametrize("room", [0, 70_000], ids=["no room at all", "no room to grow"])
def test_full_disk_keeps_counts_on_the_page(tmp_path, room):
    seen, log = run(tmp_path, f"fill({room})\nfrom bridge.telemetry import metrics\ncount()\nwrite_files()\nshow()")
    counts = [value for name, value in seen.items() if name[0] == "lingma_gateway_sessions_total"]
    assert counts == [1.0] * 1000
    assert seen["lingma_gateway_in_flight",] == 7
    assert log.count("degraded: disk") == 1


def test_counts_reach_files_once_there_is_room(tmp_path, other):
    _, log = run(
        tmp_path,
        """
        fill()
        from bridge.telemetry import metrics
        count()
        write_files(), write_files(), empty(), count(), write_files()
    """,
    )
    seen = other()
    assert seen["lingma_gateway_sessions_total", "outcome-999"] == 2
    assert (log.count("degraded: disk"), log.count("well again: disk")) == (1, 1)


def test_truncated_file_does_not_break_the_page(tmp_path, other):
    run(tmp_path, "from bridge.telemetry import metrics\ncount(3)")
    (tmp_path / "counter_1.db").touch()
    (tmp_path / "histogram_1.db").write_bytes(b"\xff" * 100)
    assert other()["lingma_gateway_sessions_total", "outcome-2"] == 1


def test_killed_process_leaves_its_earlier_counts(tmp_path, other):
    run(
        tmp_path,
        """
        from pathlib import Path
        from prometheus_client.mmap_dict import MmapedDict
        from bridge.telemetry import metrics
        count(3)
        def written():
            files = [path for path in Path(sys.argv[1]).glob("counter_*.db") if path.stat().st_size]
            values = [value for path in files for value in MmapedDict.read_all_values_from_file(path)]
            return [key for key, value, *_ in values if "outcome-2" in key and value == 1]
        while not written():
            pass
        os._exit(0)
    """,
    )
    assert other()["lingma_gateway_sessions_total", "outcome-2"] == 1


def test_restarted_part_counts_on_in_same_files(tmp_path, other):
    for _ in range(3):
        run(
            tmp_path,
            """
            os.environ["METRICS_PART"] = "web-1"
            from bridge.telemetry import metrics
            count(3)
            if os.fork() == 0:
                metrics.SESSIONS.labels("outcome-0").inc()
                os._exit(0)
        """,
        )
    assert [path.name for path in tmp_path.glob("counter_*.db")] == ["counter_web-1.db"]
    assert len(list(tmp_path.glob("gauge_livesum_*.db"))) == 1  # of the last one
    assert other()["lingma_gateway_sessions_total", "outcome-2"] == 3


def test_changed_library_counts_in_its_own_way(tmp_path):
    program = START.replace(
        "from gateway_project", "import prometheus_client.values as v\ndel v.MmapedDict\nfrom gateway_project"
    )
    command = [sys.executable, "-c", program + "print(v.ValueClass.__name__)", str(tmp_path)]
    environment = counting_in(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert done.stdout.strip() == "MmapedValue"
    assert "has changed inside" in done.stderr


@pytest.mark.parametrize(
    ("module", "value"),
    {
        "gateway_project.settings": "MmapedValue",
        "gateway_project.asgi": "FastValue",
        "gateway_project.celery": "FastValue",
    }.items(),
)
def test_programs_install_values_and_settings_do_not(tmp_path, module, value):
    program = f"import {module}, prometheus_client.values as v; print(v.ValueClass.__name__)"
    environment = {
        **os.environ, "DATA_DIR": str(tmp_path), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
    }  # fmt: skip
    assert run_code(program, env=environment).stdout.strip() == value

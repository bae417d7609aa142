"""What a process does not load."""

import importlib
import os
import subprocess
import sys

import pytest

from gateway_project.lib.processes.absent import absent, late


def test_absent_modules_fail_and_come_back():
    sys.modules.pop("this", None)
    with absent("this", "os"):
        with pytest.raises(ImportError):
            importlib.import_module("this")
        assert importlib.import_module("os") is os  # it is loaded, so others have it
    assert "this" not in sys.modules


def test_late_modules_load_with_the_first_call(tmp_path, monkeypatch):
    (tmp_path / "seldom_used.py").write_text("NUMBER = 3\ndef double(value, times=2): return value * times\n")
    monkeypatch.syspath_prepend(tmp_path)
    late("seldom_used", "double")
    stand_in = sys.modules["seldom_used"]
    try:
        double = importlib.import_module("seldom_used").double
        assert sys.modules["seldom_used"] is stand_in
        assert (double(2), double(2, times=3)) == (4, 6)
        assert sys.modules["seldom_used"] is not stand_in
        assert (stand_in.NUMBER, sys.modules["seldom_used"].NUMBER) == (3, 3)
    finally:
        del sys.modules["seldom_used"]


def test_late_modules_give_whatever_else_they_have():
    sys.modules.pop("this", None)
    late("this", "nothing")
    try:
        assert importlib.import_module("this").s.startswith("Gur Mra")
        late("this", "nothing")  # it is there, so it stays
        assert sys.modules["this"].__file__
    finally:
        del sys.modules["this"]


TESTING = "unittest django.test rest_framework.test pytest"
CONSOLE = "accounts.admin bridge.admin unfold.admin rest_framework.views drf_spectacular.openapi fido2"
WEB = "uvicorn httptools bridge.http.chat bridge.runtime.process channels.routing gateway_project.asgi"
CELERY = "celery.worker.consumer celery.beat celery.apps.worker django_celery_beat.schedulers"
NOBODY = (
    f"{TESTING} psycopg requests urllib3 pygments twisted daphne prompt_toolkit celery.bin celery.contrib opentelemetry"
)
PROCESSES = {
    "supervisor": ("import gateway_project.supervise.__main__",
                   f"{NOBODY} {CONSOLE} {WEB} {CELERY} django kombu redis channels cryptography PIL"),
    "login worker": ("import gateway_project.login_worker",
                     f"{NOBODY} {CONSOLE} {WEB} {CELERY} django kombu redis pydantic asyncio"),
    "web": ("import gateway_project.server.__main__, gateway_project.asgi",
            f"{NOBODY} {CELERY} fido2.rpid accounts.ledger.flusher"),
    "worker": ("CELERY; import gateway_project.celery.__main__, celery.apps.worker", f"{NOBODY} {CONSOLE} {WEB}"),
    "beat": ("CELERY; import gateway_project.celery.__main__, celery.apps.beat, gateway_project.beat",
             f"{NOBODY} {CONSOLE} {WEB} celery.worker.consumer celery.apps.worker"),
    "command": ("import django; django.setup()", f"{TESTING} twisted daphne opentelemetry"),
    "preparation": ("from gateway_project.supervise import prepare; from gateway_project.env import load; "
                    "prepare.redis_trouble(load())", f"{NOBODY} {CONSOLE} {WEB} {CELERY} django kombu"),
}  # fmt: skip
"""What each does to begin, and the packages that it has no use for. Forks of one server have what that has loaded:
`tests/gateway_project/test_forks.py`.
"""
LOADED = """
import sys
print(*(name for name in "{unused}".split() if hasattr(sys.modules.get(name), "__file__")))  # without what is `late`
"""
BEGUN = "import django; from gateway_project.lib.processes import console; console.served = False; django.setup()"


@pytest.mark.parametrize("process", PROCESSES)
def test_process_holds_nothing_unused(tmp_path, process):
    begin, unused = PROCESSES[process]
    program = f"{begin.replace('CELERY', BEGUN)}\n{LOADED.format(unused=unused)}"
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stdout.strip() == ""

"""What tests of real processes share: a gateway for each worker, the formats, and both ways to read an answer."""

import pytest

from tests.e2e.formats import FORMATS, OPENAI
from tests.e2e.installation import Gateway, patiently

APP = "https://app.example.com"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, template):
    """One web process with one instance, for tests that need nothing special."""
    with Gateway(tmp_path_factory.mktemp("gateway"), template) as running:
        yield running
    assert running.left_behind == []


@pytest.fixture(scope="session")
def mortal(tmp_path_factory, template):
    """One instance, which tests may kill, signs of life every 0.2 s, and two origins whose pages may ask."""
    settings = {"KEEPALIVE_SEC": "0.2", "CORS_ALLOWED_ORIGINS": f"{APP}/, http://localhost:3000"}
    with Gateway(tmp_path_factory.mktemp("mortal"), template, **settings) as running:
        yield running


@pytest.fixture(scope="session")
def _twins(tmp_path_factory, template):
    settings = {"METRICS_TOKEN": "open-sesame", "TRUSTED_PROXIES": "127.0.0.1", "TOOL_MODE": "bridge"}
    with Gateway(tmp_path_factory.mktemp("twins"), template, processes=2, KEEPALIVE_SEC="0.2", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def twins(_twins):
    """Two web processes; one that another module has killed is started again."""
    for number, process in enumerate(_twins.processes):
        if process.poll() is not None:
            _twins.processes[number] = _twins.start(number + 1)
    patiently(lambda: {reached_by(_twins) for _ in range(8)} == {"w1-i1", "w2-i1"})
    return _twins


def reached_by(gateway):
    """The instance that a turn comes to."""
    return gateway.ask(OPENAI, "[[sim: text=x]] x").headers.get("x-lingma-instance")


@pytest.fixture(params=FORMATS, ids=str)
def wire(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def stream(request):
    return request.param

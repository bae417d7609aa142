"""What is printed when the gateway is up."""

import pytest

from gateway_project.env import Environment
from gateway_project.supervise.summary import Bootstrapped, summary


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("LINGMA_ATTACH_URLS", "ws://alice:canary@10.0.0.7:4711/x?token=canary", "Lingma at ws://10.0.0.7:4711/x "),
        (
            "LINGMA_VSIX",
            "https://alice:canary@files.example.com/a.vsix?sig=canary",
            "https://files.example.com/a.vsix ",
        ),
    ],
)
def test_box_shows_upstream_without_url_secrets(monkeypatch, variable, value, shown):
    monkeypatch.setenv(variable, value)
    told = summary(Environment(), Bootstrapped(), "ready")
    assert shown in told
    assert "canary" not in told


@pytest.mark.parametrize(
    ("runs", "shown"),
    [("", "THE SIMULATOR"), ("simulator", "THE SIMULATOR"), ("lingma", "Lingma, the installed version")],
)
def test_box_shows_what_runs(runs, shown):
    assert shown in summary(Environment(_env_file=None), Bootstrapped(), "ready", runs)

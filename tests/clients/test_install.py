"""What happens where there is no registry."""

import pytest

from tests.clients import install


@pytest.mark.parametrize(
    "clients", [install.node_clients, install.aider, install.suites], ids=lambda clients: clients.__name__
)
def test_missing_registry_is_reported_and_remembered(clients, tmp_path, monkeypatch):
    monkeypatch.setattr(install, "PLACE", tmp_path)
    for name in ("npm_config_registry", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    with pytest.raises(install.Unavailable) as first:
        clients()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(install.Unavailable, match=r"^(there is no|the .* does not|aider needs)") as second:
        clients()
    assert str(first.value) == str(second.value)

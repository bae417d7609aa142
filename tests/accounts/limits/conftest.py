import pytest


@pytest.fixture
def patience(monkeypatch):
    """A Redis that gets no time on a busy machine is waited for: without it each process counts for itself."""
    monkeypatch.setattr("accounts.limits.breaker.SILENT_TICKS", 10_000)
    monkeypatch.setattr("accounts.limits.breaker.LASTING_SEC", 60)

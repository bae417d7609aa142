"""Versions of Lingma as the doctor sees them."""

import pytest

from bridge.doctor import versions
from bridge.fleet import versions as fleet
from bridge.models import InstanceOrder, Version
from tests.bridge.lingma.test_vsix import HERE, packed

pytestmark = pytest.mark.django_db


@pytest.fixture
def found(installed, findings):
    def found(*heartbeats):
        state = installed()
        state.database_answers = True
        state.heartbeats = list(heartbeats)
        return findings(versions.versions, state)

    return found


@pytest.fixture
def version(tmp_path):
    """One that is installed and the default."""
    source = tmp_path / "lingma.vsix"
    source.write_bytes(packed({f"2.9.0/{HERE}/Lingma": "lingma"}, "2.9.0"))
    row = fleet.install(str(source), tmp_path)
    fleet.make_default(row)
    return row


def test_versions_nobody_needs_are_not_told(found, version):
    Version.objects.create(version="2.11.1")
    assert found() == [("ok", "2.9.0 (the default) is here and unchanged")]


def test_another_file_is_a_failure(found, version, tmp_path):
    (tmp_path / "binaries" / "2.9.0" / HERE / "Lingma").write_text("another")
    [(level, text)] = found()
    assert level == "fail"
    assert "is not what was installed" in text


def test_missing_version_is_a_failure(found):
    row = Version.objects.create(version="2.11.1", executables={"2.11.1/other_os/Lingma": "0"})
    InstanceOrder.objects.create(name="w1-i1", version=row)
    [(level, text)] = found()
    assert level == "fail"
    assert text.startswith("2.11.1 (ordered for w1-i1): it is not installed on this machine")


def test_drift_is_told(found, status):
    told = found(status(installed="2.9.0"), status(name="w1-i2", installed="v2.11.1"), status(name="w1-i3"))
    [(level, text)] = told
    assert level == "warn"
    assert text.startswith("w1-i1 was started as 2.9.0 and reports 2.11.1")

"""Settings, disk, database, keys."""

from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import ApiKey
from bridge.doctor import installation

pytestmark = pytest.mark.django_db


def test_a_plain_installation_is_well(installed, findings):
    for check in (installation.settings, installation.data_dir, installation.database):
        assert {level for level, _ in findings(check, installed())} == {"ok"}


def test_harmful_setting_is_reported_with_its_id(installed, findings, settings):
    settings.ENV = installed(TOOL_APPROVAL="allow").env
    [(level, text)] = findings(installation.settings, installed())
    assert level == "warn"
    assert "lingma.W004" in text


def test_a_setting_that_cannot_work_fails(installed, findings, settings):
    settings.ENV = installed(LINGMA_BIN="/nowhere/Lingma").env
    assert findings(installation.settings, installed())[0][0] == "fail"


def test_readable_data_directory_is_reported(installed, findings, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o755)
    [(level, text)] = findings(installation.settings, installed())
    assert level == "warn"
    assert f"{tmp_path}. (lingma.W007)" in text


def test_a_data_directory_that_takes_no_files_fails(installed, findings, monkeypatch):
    def read_only(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(installation.tempfile, "TemporaryFile", read_only)
    level, text = findings(installation.data_dir, installed())[0]
    assert level == "fail"
    assert "Read-only file system" in text


@pytest.mark.parametrize(("free", "level"), [(10 << 20, "fail"), (500 << 20, "warn"), (5 << 30, "ok")])
def test_a_full_disk(installed, findings, monkeypatch, free, level):
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert findings(installation.data_dir, installed())[-1][0] == level


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_missing_migrations_matter_while_the_gateway_runs(installed, findings, held, level):
    MigrationRecorder(connection).migration_qs.filter(app="bridge").delete()
    state = installed(held=held)
    [(found, text)] = findings(installation.database, state)
    assert found == level
    assert text.startswith("migrations not applied: ")
    assert not state.database_answers


def test_check_does_not_create_the_database_file(installed, findings, monkeypatch, tmp_path):
    monkeypatch.setitem(connection.settings_dict, "NAME", tmp_path / "none.sqlite3")
    assert findings(installation.database, installed())[0][0] == "warn"
    assert not (tmp_path / "none.sqlite3").exists()


def test_installation_without_keys_and_people_is_warned(installed, findings):
    state = installed()
    state.database_answers = True
    assert [level for level, _ in findings(installation.keys, state)] == ["warn", "warn"]


@pytest.mark.parametrize(
    ("rights", "warned"), [({"is_staff": True}, False), ({"is_superuser": True}, True), ({}, True)]
)
def test_staff_can_open_the_console(installed, findings, rights, warned):
    get_user_model().objects.create_user("alice", **rights)
    state = installed()
    state.database_answers = True
    assert any("nobody can open the admin console" in text for _, text in findings(installation.keys, state)) is warned


def test_keys_are_counted_but_not_shown(installed, findings):
    state = installed()
    state.database_answers = True
    get_user_model().objects.create_superuser("admin", password="x")
    key = ApiKey(name="a")
    key.renew_secret(b"pepper")
    key.save()
    assert findings(installation.keys, state) == [("ok", "1 usable")]

"""Settings, disk, database, keys."""

from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import ApiKey
from bridge.doctor import installation

pytestmark = pytest.mark.django_db


def test_a_plain_installation_is_well(patient, told):
    for look in (installation.settings, installation.data_dir, installation.database):
        assert {level for level, _ in told(look, patient())} == {"ok"}


def test_harmful_setting_is_reported_with_its_id(patient, told, settings):
    settings.ENV = patient(TOOL_APPROVAL="allow").env
    [(level, text)] = told(installation.settings, patient())
    assert level == "warn"
    assert "lingma.W004" in text


def test_a_setting_that_cannot_work_fails(patient, told, settings):
    settings.ENV = patient(LINGMA_BIN="/nowhere/Lingma").env
    assert told(installation.settings, patient())[0][0] == "fail"


def test_readable_data_directory_is_reported(patient, told, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o755)
    [(level, text)] = told(installation.settings, patient())
    assert level == "warn"
    assert f"{tmp_path}. (lingma.W007)" in text


def test_a_data_directory_that_takes_no_files_fails(patient, told, monkeypatch):
    def read_only(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(installation.tempfile, "TemporaryFile", read_only)
    level, text = told(installation.data_dir, patient())[0]
    assert level == "fail"
    assert "Read-only file system" in text


@pytest.mark.parametrize(("free", "level"), [(10 << 20, "fail"), (500 << 20, "warn"), (5 << 30, "ok")])
def test_a_full_disk(patient, told, monkeypatch, free, level):
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert told(installation.data_dir, patient())[-1][0] == level


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_missing_migrations_matter_while_the_gateway_runs(patient, told, held, level):
    MigrationRecorder(connection).migration_qs.filter(app="bridge").delete()
    examined = patient(held=held)
    [(found, text)] = told(installation.database, examined)
    assert found == level
    assert text.startswith("migrations not applied: ")
    assert not examined.database_answers


def test_look_does_not_create_the_database_file(patient, told, monkeypatch, tmp_path):
    monkeypatch.setitem(connection.settings_dict, "NAME", tmp_path / "none.sqlite3")
    assert told(installation.database, patient())[0][0] == "warn"
    assert not (tmp_path / "none.sqlite3").exists()


def test_without_keys_and_people_nobody_comes_in(patient, told):
    examined = patient()
    examined.database_answers = True
    assert [level for level, _ in told(installation.keys, examined)] == ["warn", "warn"]


def test_keys_are_counted_but_not_shown(patient, told):
    examined = patient()
    examined.database_answers = True
    get_user_model().objects.create_superuser("admin", password="x")
    key = ApiKey(name="a")
    key.renew_secret(b"pepper")
    key.save()
    assert told(installation.keys, examined) == [("ok", "1 usable")]

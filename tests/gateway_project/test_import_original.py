"""`import_original`, over folders as the original gateway has them."""

import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.models import ApiKey
from bridge.logins.bundle import Bundle
from bridge.models import Login
from gateway_project import original
from gateway_project.backup import variables
from gateway_project.lib.secrets.key_secret import digest_of
from gateway_project.lib.secrets.secrets_at_rest import Secret

pytestmark = pytest.mark.django_db
KEYS = ("sk-original-key-of-alice-1", "sk-original-key-of-bob-22")
ENV = f"""
# The original gateway
API_KEYS={KEYS[0]}, {KEYS[1]},short,{KEYS[0]}
ADMIN_TOKEN='a token # of $ME'
METRICS_TOKEN_FILE=metrics.token
DEFAULT_MODEL=dashscope_qmodel
default_ask_mode=chat
TOOL_FORWARD_ENABLED=true
SESSION_CACHE_TTL_SEC=900
SESSION_CACHE_MAX_ENTRIES=many
DEDICATED_DOMAIN_URL=https://user:pass@lingma.example.com
DATA_DIR=/somewhere/else
AUTO_LOGIN_PASSWORD=hunter2-of-the-original
EMPTY=
"""
SECRETS = (*KEYS, "a token # of $ME", "the metrics token", "user:pass", "hunter2", "user of main", "machine of main")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / ".env").write_text(ENV)
    (folder / "metrics.token").write_text("the metrics token\n")
    write_login(folder / "lingma" / "cache", "main")
    return folder


def write_login(folder, name):
    folder.mkdir(parents=True)
    (folder / "user").write_text(f"user of {name}")
    (folder / "id").write_text(f"machine of {name}")


@pytest.fixture
def private():
    """A folder with one that nobody may look into, for a user who is not root."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_login(folder / "service" / "cache", "main")
        write_login(folder / "other" / "cache", "other")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        (folder / "database").mkdir(mode=0o000)
        before = os.geteuid()
        os.seteuid(before or 65534)
        try:
            yield folder
        finally:
            os.seteuid(before)


def test_folders_of_others_are_passed_over(private):
    assert set(original.look_at(private).logins) == {"service", "other"}


@pytest.fixture
def run(capsys):
    """What the command prints."""

    def run(*arguments):
        call_command("import_original", *map(str, arguments))
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.splitlines()

    return run


def keys_there():
    return {key for key in KEYS if ApiKey.objects.filter(digest=digest_of(key, settings.KEY_PEPPER)).exists()}


def users_there():
    return {
        login.label: Bundle.unpacked(login.bundle.read()).files["cache/user"].decode() for login in Login.objects.all()
    }


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "large"])
def test_secrets_come_from_plain_files_alone(folder, kind):
    place = folder / "secret"
    match kind:
        case "device":
            place.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case _:
            place.write_bytes(b"a" * (original.LARGEST + 1))
    (folder / ".env").write_text("ADMIN_TOKEN_FILE=secret")
    assert original.look_at(folder).bad == {"ADMIN_TOKEN_FILE": "this is no text"}


def test_keys_and_login_are_good_here(folder, run):
    said = run(folder)
    assert keys_there() == set(KEYS)
    assert users_there() == {"original": "user of main"}
    assert said[-1] == "Imported 2 keys and 1 login; 6 settings are to be set here, --write-env F writes them."


def test_second_run_imports_nothing_twice(folder, run):
    run(folder)
    again = run(folder)[-1]
    assert again.startswith("Imported 0 of 2 keys (the others are here) and 0 of 1 login (the others are here);")
    assert (ApiKey.objects.count(), Login.objects.get().generation) == (2, 1)


def test_login_that_was_renewed_is_not_replaced(folder, run):
    """Its tokens are newer than those that the original gateway has left."""
    run(folder)
    login = Login.objects.get()
    renewed = Bundle({**Bundle.unpacked(login.bundle.read()).files, "cache/user": b"renewed"})
    Login.objects.update(bundle=Secret.of(renewed.packed()), generation=2)
    assert "0 of 1 login (the others are here);" in run(folder)[-1]
    assert users_there() == {"original": "renewed"}


def test_revoked_key_stays_revoked(folder, run):
    run(folder)
    ApiKey.objects.all().revoke()
    run(folder)
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_dry_run_says_all_and_changes_nothing(folder, run, tmp_path):
    dry = run(folder, "--dry-run", "--write-env", tmp_path / "env")
    assert (ApiKey.objects.count(), Login.objects.count(), (tmp_path / "env").exists()) == (0, 0, False)
    assert dry[-1] == f"Would import 2 keys and 1 login; 6 settings would be in {tmp_path / 'env'}."
    assert run(folder)[:-1] == dry[:-1]


def test_each_setting_is_accounted_for(folder, run):
    *settings, bad, key, default, not_needed, unknown, _ = run(folder)
    assert settings == [
        "ADMIN_TOKEN=… (not shown)",
        "DEDICATED_DOMAIN_URL=… (not shown)",
        "DEFAULT_MODEL=dashscope_qmodel",
        "METRICS_TOKEN=… (not shown)",
        "SESSION_CACHE_TTL_SEC=900",
        "TOOL_FORWARD_ENABLED=true",
    ]
    assert bad.startswith("SESSION_CACHE_MAX_ENTRIES: cannot be taken: Input should be a valid integer")
    assert key == "API_KEYS: key 3 has 5 characters, and a key needs 20"
    assert default == "DEFAULT_ASK_MODE: the default here too"
    assert not_needed == "DATA_DIR: not needed, this gateway has its own"
    assert unknown == "AUTO_LOGIN_PASSWORD, EMPTY: not known here"


def test_secret_is_never_printed(folder, run, tmp_path):
    output = "\n".join(run(folder, "--dry-run") + run(folder, "--write-env", tmp_path / "env") + run(folder))
    assert [text for text in SECRETS if text in output] == []


def test_settings_are_written_for_this_gateway(folder, run, tmp_path):
    run(folder, "--write-env", tmp_path / "env")
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600
    assert dotenv_values(tmp_path / "env") == {
        "ADMIN_TOKEN": "a token # of $ME", "DEDICATED_DOMAIN_URL": "https://user:pass@lingma.example.com",
        "DEFAULT_MODEL": "dashscope_qmodel", "METRICS_TOKEN": "the metrics token", "SESSION_CACHE_TTL_SEC": "900",
        "TOOL_FORWARD_ENABLED": "true",
    }  # fmt: skip


def test_file_that_is_there_is_not_written(folder, run, tmp_path):
    (tmp_path / "env").write_text("mine")
    with pytest.raises(CommandError, match="is there already"):
        run(folder, "--write-env", tmp_path / "env")
    assert ((tmp_path / "env").read_text(), ApiKey.objects.count()) == ("mine", 0)


def test_several_logins_get_names_of_folders(folder, run):
    write_login(folder / "instances" / "two" / "cache", "two")
    write_login(folder / "instances" / "one" / "cache", "one")
    write_login(folder / "copy" / "cache", "main")
    assert " 3 logins;" in run(folder)[-1]
    assert sorted(users_there().values()) == ["user of main", "user of one", "user of two"]


def test_login_may_be_a_zip(tmp_path, run):
    with zipfile.ZipFile(tmp_path / "session_bundle.zip", "w") as archive:
        archive.writestr("cache/user", "user of zip")
        archive.writestr("cache/id", "machine of zip")
    run(tmp_path, "--label", "main")
    assert users_there() == {"main": "user of zip"}


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_folder_without_anything_is_one_line(tmp_path, run, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommandError) as refusal:
        run(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_env_that_is_no_text_is_one_line(tmp_path, run):
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(CommandError, match="Cannot read"):
        run(tmp_path)


def test_environment_of_this_process_decides_nothing(folder, monkeypatch):
    monkeypatch.setenv("SESSION_CACHE_TTL_SEC", "no number")
    assert original.look_at(folder).settings["SESSION_CACHE_TTL_SEC"] == "900"


@example("a${x}b")
@example("$${HOME}${")
@given(st.text("ab1 '\"\\#$={}:-,通\t", min_size=1, max_size=12))
def test_written_value_is_read_as_it_was(value):
    from io import StringIO

    assert dotenv_values(stream=StringIO(variables.lines({"A": value, "B": "x"}))) == {"A": value, "B": "x"}

"""What cannot be backed up or restored: one line says why, and nothing has changed."""

import json

import msgspec
import pytest

from bridge.version import VERSION
from gateway_project.backup.records import End, File, Manifest, Table, Writer
from gateway_project.backup.sealed import Sealer
from tests.directories import copy
from tests.e2e.installation import django
from tests.gateway_project.backup.installations import PASSPHRASE, everything, run

TRY = """
import json, resource
from django.core.management import CommandError, call_command
from django.conf import settings
from pydantic import SecretStr

def attempt(command, *arguments, passphrase={passphrase!r}):
    settings.ENV = settings.ENV.model_copy(update={{"backup_passphrase": SecretStr(passphrase)}})
    try:
        call_command(command, *arguments)
    except CommandError as exc:
        return str(exc)
    return "done"
"""
MIGRATIONS = [("accounts", "0001_initial")]
MANIFEST = Manifest(VERSION, "2026-11-29T10:00:00+00:00", "sqlite", MIGRATIONS, "s", ["k" * 20], "p")


@pytest.fixture(scope="module")
def installation(tmp_path_factory, filled):
    return copy(filled, tmp_path_factory.mktemp("used") / "data")


@pytest.fixture
def attempt(installation):
    """What a command says in this installation."""

    def attempt(*arguments, before="", **options):
        words = ", ".join(repr(str(each)) for each in arguments)
        code = f"{TRY.format(passphrase=PASSPHRASE)}\n{before}\nprint(json.dumps(attempt({words}, **{options})))"
        return json.loads(django(installation, code).splitlines()[-1])

    return attempt


def craft(path, *lines, passphrase=PASSPHRASE, cut=None):
    """A backup of these lines, as somebody else may have written it."""
    with path.open("wb") as file:
        writer = Writer(Sealer(file, passphrase, VERSION, "2026-11-29T10:00:00+00:00", 16))
        for line in lines:
            if isinstance(line, bytes):
                writer.content(line)
            else:
                writer.write(line)
        writer.close()
    return path


def newer(manifest=MANIFEST):
    return Manifest("9.1", manifest.made_at, "sqlite", [("accounts", "0999_later")], "s", ["k"], "p")


TABLE = Table("accounts_team", [("id", "BigAutoField"), ("name", "CharField")])
BAD = {
    "newer": ([newer(), End(0, 0)], "version 9.1, which is newer than this one: this one does not know the migration "
              "accounts.0999_later."),
    "provider": ([Manifest(VERSION, "now", "sqlite", [("socialaccount", "0001_initial")], "s", ["k"], "p"), End(0, 0)],
                 "set OIDC_ISSUER first."),
    "no end": ([MANIFEST, TABLE, [1, "a"]], "The backup ends too early."),
    "other counts": ([MANIFEST, TABLE, [1, "a"], End(1, 2)], "The backup is not complete."),
    "more after it": ([MANIFEST, End(0, 0), TABLE], "The backup is not complete."),
    "no manifest": ([TABLE, End(1, 0)], "The backup has no beginning."),
    "narrow row": ([MANIFEST, TABLE, [1], End(1, 1)], "The backup has a row that does not fit into its table."),
    "strange column": ([MANIFEST, Table("t", [("a", "CurveField")]), End(1, 0)], "does not know: CurveField."),
    "strange line": ([MANIFEST, {"is": "poem"}, End(0, 0)], "something in it that this version does not know."),
    "file elsewhere": ([MANIFEST, File("../evil", 0o600), b"x", End(0, 0)], "does not belong there: '../evil'."),
    "absolute file": ([MANIFEST, File("/tmp/evil", 0o600), b"x", End(0, 0)], "does not belong there: '/tmp/evil'."),
    "deep line": ([MANIFEST, msgspec.Raw(b"[" * 100_000), End(0, 0)],
                  "something in it that this version does not know."),
    "no keys": ([Manifest(VERSION, "now", "sqlite", MIGRATIONS, "s", [], "p"), End(0, 0)],
                "something in it that this version does not know."),
    "table of SQL": ([MANIFEST, Table('accounts_team" (id) VALUES (1) --', [("id", "BigAutoField")]), [1], End(1, 1)],
                     "a table that this version does not know: 'accounts_team\" (id) VALUES (1) --'."),
    "column of SQL": ([MANIFEST, Table("accounts_team", [('id", "name', "BigAutoField")]), [1], End(1, 1)],
                      "a table that this version does not know: 'accounts_team'."),
    "value of no row": ([MANIFEST, TABLE, [10**30, "a"], End(1, 1)],
                        "The backup has a value that no row of accounts_team can have."),
    "contents alone": ([MANIFEST, b"x", End(0, 0)], "The backup has contents of no file."),
    "folder as a file": ([MANIFEST, File("instances/", 0o600), End(0, 0)], "does not belong there: 'instances/'."),
    "file in a file": ([MANIFEST, File("instances/a", 0o600), File("instances/a/b", 0o600), End(0, 0)],
                       "two files in one place: 'instances/a/b'."),
    "file as a folder": ([MANIFEST, File("instances/a/b", 0o600), File("instances/a", 0o600), End(0, 0)],
                         "two files in one place: 'instances/a'."),
    "place that is taken": ([MANIFEST, File("instances/w1-i1", 0o600), End(0, 0)],
                            "instances/w1-i1 of the backup in DATA_DIR: what is there is no such file."),
    "name of no file": ([MANIFEST, File("instances/a\0b", 0o600), End(0, 0)], "there: 'instances/a\\x00b'."),
    "folders without end": ([MANIFEST, File("instances/" + "a/" * 1500, 0o600), End(0, 0)], "/a/a/a/'."),
    "file of ours": ([MANIFEST, File("secrets/keys", 0o600), End(0, 0)], "does not belong there: 'secrets/keys'."),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_backup_changes_nothing(tmp_path, installation, attempt, name):
    lines, words = BAD[name]
    before = everything(installation)
    said = attempt("restore", craft(tmp_path / "backup", *lines), "--replace")
    assert said.endswith(words)
    assert "\n" not in said
    assert everything(installation) == before


def test_settings_written_are_named_and_of_no_machine(tmp_path, filled):
    data_dir, written = copy(filled, tmp_path / "data"), tmp_path / "env"
    without = craft(tmp_path / "without", msgspec.structs.replace(MANIFEST, settings={"PATH": "/tmp"}), End(0, 0))
    said = run(data_dir, "restore", without, "--replace", "--write-env", written).stderr
    assert f"has no settings that move, so {written} was not written." in said
    assert not written.exists()
    values = {"TOOL_APPROVAL": "deny", "ADMIN_TOKEN": "a-token"}
    foreign = {"LINGMA_BIN": "/tmp/evil", "A=b\nSECRET_KEY": "x", "PATH": "/tmp"}
    backup = craft(tmp_path / "with", msgspec.structs.replace(MANIFEST, settings=values | foreign), End(0, 0))
    said = run(data_dir, "restore", backup, "--replace", "--write-env", written).stderr
    assert f"Written to {written}, secrets too: ADMIN_TOKEN, TOOL_APPROVAL." in said
    assert "a-token" not in said
    assert sorted(written.read_text().splitlines()) == ["ADMIN_TOKEN=a-token", "TOOL_APPROVAL=deny"]


def damage(data, kind):
    match kind:
        case "cut":
            return data[:-1000]
        case "flipped":
            middle = len(data) // 2
            return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        case "other":
            return b"PK\3\4" + data
    return b""


DAMAGED = {
    "cut": "is damaged, or its end is missing", "flipped": "is damaged", "other": "This is no backup",
    "empty": "This is no backup",
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_file_changes_nothing(tmp_path, installation, attempt, backup, kind):
    (tmp_path / "backup").write_bytes(damage(backup[0].read_bytes(), kind))
    before = everything(installation)
    assert DAMAGED[kind] in attempt("restore", tmp_path / "backup", "--replace")
    assert everything(installation) == before


def test_wrong_passphrase_changes_nothing(installation, attempt, backup):
    before = everything(installation)
    said = attempt("restore", backup[0], "--replace", passphrase="not that one at all")
    assert said.startswith("The passphrase is not that of the backup")
    assert everything(installation) == before


def test_disk_that_fills_changes_nothing(installation, attempt, backup):
    before = everything(installation)
    said = attempt("restore", backup[0], "--replace", before="resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, -1))")
    django(installation, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))")
    assert said.startswith("Nothing was restored: ")
    assert "\n" not in said
    assert everything(installation) == before


def test_disk_that_fills_leaves_no_half_backup(tmp_path, attempt, installation):
    path = tmp_path / "backup"
    path.write_bytes(b"the one of yesterday")
    said = attempt("backup", path, "--force", before="resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))")
    django(installation, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))")
    assert said == f"Cannot write {path}: File too large."
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]
    assert path.read_bytes() == b"the one of yesterday"


def test_backup_replaces_only_what_it_is_told_to(tmp_path, attempt, installation):
    path = tmp_path / "backup"
    path.write_bytes(b"the one of yesterday")
    assert attempt("backup", path) == f"{path} is there already: name a new file, or replace it with --force."
    assert path.read_bytes() == b"the one of yesterday"
    run(installation, "backup", path, "--force")
    assert path.stat().st_size > 1000
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]


@pytest.mark.parametrize(("passphrase", "words"), [("", "set BACKUP_PASSPHRASE"), ("short", "has 5 characters")])
def test_backup_needs_a_good_passphrase(tmp_path, attempt, passphrase, words):
    assert words in attempt("backup", tmp_path / "backup", passphrase=passphrase)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_file_that_cannot_be_used_is_named(tmp_path, attempt, command):
    missing = tmp_path / "no" / "folder" / "backup"
    assert str(missing) in attempt(command, missing)
    assert str(tmp_path) in attempt(command, tmp_path)

"""Versions of Lingma: installed by command beside each other, the default for all, deleted when nobody needs them."""

import hashlib
import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEntry
from bridge.fleet import orders, versions
from bridge.fleet.orders import EVERY, read_orders
from bridge.lingma.install import vsix
from bridge.lingma.install.vsix import Unpacked
from bridge.models import Instance, InstanceOrder, Version
from tests.bridge.fleet.test_orders import instances as instances
from tests.bridge.fleet.test_orders import member
from tests.bridge.lingma.test_vsix import HERE, packed

pytestmark = pytest.mark.django_db
ROW = {
    "process": 1, "pid": 9, "generation": 1, "state": "ready", "login": True, "in_flight": 0, "limit": 8,
    "restarts": 0, "upstream": "attached", "models_offered": 1, "seen_at": datetime.now(UTC),
}  # fmt: skip


@pytest.fixture
def data_dir(tmp_path, settings):
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture
def archive(tmp_path):
    """Write a VSIX of that version; its path."""

    def write(version, text="lingma"):
        path = tmp_path / f"{version}.vsix"
        path.write_bytes(packed({f"{version}/{HERE}/Lingma": f"{text} {version}"}, version))
        return path

    return write


def install(*arguments):
    out = StringIO()
    call_command("lingma_install", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("given", ["", " ", "0" * 63, "md5"])
def test_empty_digest_lifts_no_check(archive, given):
    """Of a script whose variable is not set."""
    with pytest.raises(CommandError, match="is no SHA-256"):
        install(archive("2.9.0"), f"--sha256={given}")
    assert not Version.objects.exists()


def test_versions_lie_side_by_side(data_dir, archive):
    for version in ("2.9.0", "2.11.1"):
        digest = hashlib.sha256(archive(version).read_bytes()).hexdigest()
        said = install(archive(version), f"--sha256={digest}")
        assert said == f"{version} is installed; SHA-256 of the archive: {digest}\n"
    assert [row.version for row in Version.objects.all()] == ["2.11.1", "2.9.0"]
    for row in Version.objects.all():
        text = f"lingma {row.version}"
        assert (data_dir / "binaries" / row.version / HERE / "Lingma").read_text() == text
        assert row.executables == {f"{row.version}/{HERE}/Lingma": hashlib.sha256(text.encode()).hexdigest()}
    assert AuditEntry.objects.count() == 2


def test_version_installed_again_changes_nothing(data_dir, archive):
    assert install(archive("2.9.0")) == install(archive("2.9.0"))
    assert Version.objects.count() == 1


def test_default_keeps_what_others_have_changed_since(data_dir, archive):
    for version in ("2.9.0", "2.11.1"):
        install(archive(version))
    versions.make_default(versions.named("2.9.0"))
    loaded = versions.named("2.9.0")
    # Another machine installs it as well, and somebody else makes another one the default.
    elsewhere = Unpacked("2.9.0/other_linux/Lingma", loaded.archive_sha256, "0" * 64)
    versions.record(elsewhere)
    versions.make_default(versions.named("2.11.1"))
    versions.make_default(loaded)
    assert [row.version for row in Version.objects.filter(is_default=True)] == ["2.9.0"]
    assert versions.named("2.9.0").executables == {**loaded.executables, elsewhere.executable: elsewhere.sha256}


@pytest.mark.parametrize("name", ["w1-i1", "all"])
def test_version_deleted_meanwhile_is_ordered_for_nobody(instances, redis_server, data_dir, archive, name):
    install(archive("2.9.0"))
    loaded = versions.named("2.9.0")
    versions.delete(versions.named("2.9.0"), data_dir)
    with pytest.raises(versions.UnknownVersion, match="has been deleted meanwhile"):
        orders.move(name, loaded, redis_server)
    assert not InstanceOrder.objects.exists()


@pytest.mark.parametrize("files", [True, False], ids=["there", "of another machine"])
def test_another_build_of_a_version_is_refused(data_dir, archive, files):
    install(archive("2.9.0"))
    if not files:
        vsix.remove("2.9.0", data_dir / "binaries")
    with pytest.raises(CommandError, match=r"2\.9\.0 was installed from an archive with the SHA-256"):
        install(archive("2.9.0", "another"))
    assert (data_dir / "binaries" / "2.9.0").exists() == files


def test_a_wrong_digest_installs_nothing(data_dir, archive):
    with pytest.raises(CommandError, match="is another file"):
        install(archive("2.9.0"), f"--sha256={'0' * 64}")
    assert not Version.objects.exists()
    assert [each.name for each in (data_dir / "binaries").iterdir()] == ["lock"]


def test_default_is_for_all_and_there_is_one(data_dir, archive):
    install(archive("2.9.0"), "--default")
    assert "the default" in install(archive("2.11.1"), "--default")
    InstanceOrder.objects.create(name="w1-i1", version=Version.objects.get(version="2.9.0"))
    InstanceOrder.objects.create(name="w1-i2")
    found = {name: order.version.version for name, order in read_orders().items()}
    assert found == {EVERY: "2.11.1", "w1-i1": "2.9.0", "w1-i2": "2.11.1"}
    versions.make_default(None)
    assert {name: order.version and order.version.version for name, order in read_orders().items()} == {
        "w1-i1": "2.9.0", "w1-i2": None,
    }  # fmt: skip


def test_a_machine_without_it_can_start_nothing(data_dir):
    row = Version(version="2.9.0", executables={"2.9.0/other_os/Lingma": "0" * 64})
    wanted = versions.wanted(row)
    assert (wanted.executable, wanted.sha256) == (f"2.9.0/{HERE}/Lingma", versions.NO_DIGEST)


def test_needed_version_is_not_deleted(data_dir, archive):
    install(archive("2.9.0"), "--default")
    row = Version.objects.get()
    with pytest.raises(versions.VersionInUse, match="default"):
        versions.delete(row, data_dir)
    versions.make_default(None)
    order = InstanceOrder.objects.create(name="w1-i1", version=row)
    with pytest.raises(versions.VersionInUse, match="w1-i1"):
        versions.delete(row, data_dir)
    order.delete()
    versions.delete(row, data_dir)
    assert not Version.objects.exists()
    assert not (data_dir / "binaries" / "2.9.0").exists()


@pytest.fixture
def two_versions(data_dir, archive, instances):
    install(archive("2.9.0"), "--default")
    install(archive("2.11.1"))
    return {row.version: row for row in Version.objects.all()}


def move(name, version):
    out = StringIO()
    call_command("pool", "move", name, "--version", version, stdout=out)
    return out.getvalue()


def ordered():
    return {name: order.version.version for name, order in read_orders().items()}


def test_version_goes_to_canary_then_all_and_back(two_versions):
    assert move("w1-i1", "2.11.1") == "move: w1-i1\n"
    assert ordered() == {EVERY: "2.9.0", "w1-i1": "2.11.1"}
    assert move("all", "2.11.1") == "move: w1-i1, w2-i1\n"
    assert ordered() == {EVERY: "2.11.1", "w1-i1": "2.11.1"}
    assert not InstanceOrder.objects.exclude(version=None)
    move("all", "2.9.0")
    assert set(ordered().values()) == {"2.9.0"}


def test_version_none_ends_orders_and_default(two_versions, admin_client):
    move("w1-i1", "2.11.1")
    assert move("w1-i1", "none") == "move: w1-i1\n"
    assert ordered() == {EVERY: "2.9.0", "w1-i1": "2.9.0"}
    move("w2-i1", "2.11.1")
    assert post(admin_client, "instances/all/actions/", action="move", version="none").status_code == 202
    assert {name: order.version for name, order in read_orders().items()} == {"w1-i1": None, "w2-i1": None}
    old, new = two_versions["2.9.0"], two_versions["2.11.1"]
    post(admin_client, f"versions/{new.pk}/default/")
    for row, left in ((old, ["2.11.1"]), (new, [])):
        assert admin_client.delete(f"/api/versions/{row.pk}/default/").status_code == 200
        assert [each.version for each in Version.objects.filter(is_default=True)] == left


def test_move_names_what_is_there(two_versions):
    with pytest.raises(CommandError, match=r"There is no version 3\. There are: 2\.11\.1, 2\.9\.0\."):
        move("all", "3")
    with pytest.raises(CommandError, match="There is no instance w9-i1"):
        move("w9-i1", "2.9.0")
    Instance.objects.create(**ROW, name="w1-i1")
    with pytest.raises(CommandError, match="w1-i1: attached services run the version they run"):
        move("all", "2.9.0")
    assert set(ordered().values()) == {"2.9.0"}


def post(client, path, **body):
    return client.post(f"/api/{path}", json.dumps(body), "application/json")


def test_api_lists_moves_and_deletes(admin_client, two_versions):
    rows = admin_client.get("/api/versions/").json()["results"]
    assert [(row["version"], row["is_default"], row["instances"]) for row in rows] == [
        ("2.11.1", False, []), ("2.9.0", True, []),
    ]  # fmt: skip
    assert post(admin_client, "instances/w1-i1/actions/", action="move", version="2.11.1").status_code == 202
    refused = post(admin_client, "instances/w1-i1/actions/", action="move")
    assert (refused.status_code, "There is no version" in refused.content.decode()) == (400, True)
    old, new = two_versions["2.9.0"], two_versions["2.11.1"]
    assert admin_client.delete(f"/api/versions/{new.pk}/").status_code == 409
    assert post(admin_client, f"versions/{new.pk}/default/").json()["is_default"]
    assert admin_client.delete(f"/api/versions/{old.pk}/").status_code == 204
    assert [row["version"] for row in admin_client.get("/api/versions/").json()["results"]] == ["2.11.1"]


@pytest.mark.parametrize(("group", "moves"), [("Operator", True), ("Viewer", False)])
def test_versions_are_deleted_by_superusers_alone(group, moves, two_versions):
    client, new = member(group), two_versions["2.11.1"]
    assert client.get("/api/versions/").status_code == 200
    assert client.delete(f"/api/versions/{new.pk}/").status_code == 403
    assert (post(client, "instances/w1-i1/actions/", action="move", version="2.11.1").status_code == 202) is moves
    assert (post(client, f"versions/{new.pk}/default/").status_code == 200) is moves
    assert (client.delete(f"/api/versions/{new.pk}/default/").status_code == 200) is moves

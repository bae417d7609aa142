"""The page of versions: who runs which, and a move that asks first."""

import pytest

from bridge.fleet.orders import EVERY, read_orders
from bridge.models import Version
from tests.bridge.fleet.test_orders import beat, member
from tests.bridge.fleet.test_orders import instances as instances

pytestmark = pytest.mark.django_db
LIST = "/admin/bridge/version/"


@pytest.fixture
def versions(instances, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return [
        Version.objects.create(version=version, archive_sha256="0" * 64, is_default=version == "2.9.0")
        for version in ("2.9.0", "2.11.1")
    ]


def ordered():
    return {name: order.version.version for name, order in read_orders().items()}


def test_list_says_who_runs_what(admin_client, versions, instances):
    beat(instances, "w1-i1", installed="2.11.1")
    page = admin_client.get(LIST).content.decode()
    assert page.index("2.11.1") < page.index("2.9.0")
    assert "w1-i1" in page
    assert "w2-i1" not in page
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_move_asks_first(admin_client, versions):
    old, new = versions
    page = admin_client.get(f"{LIST}{new.pk}/move/").content.decode()
    assert "Move w1-i1" in page
    assert "Move all" in page
    assert ordered() == {EVERY: "2.9.0"}
    done = admin_client.post(f"{LIST}{new.pk}/move/", {"name": "w1-i1"}, follow=True).content.decode()
    assert "2.11.1: w1-i1. It begins within two seconds." in done
    assert ordered() == {EVERY: "2.9.0", "w1-i1": "2.11.1"}
    admin_client.post(f"{LIST}{new.pk}/move/", {"name": "all"})
    assert set(ordered().values()) == {"2.11.1"}
    gone = admin_client.post(f"{LIST}{old.pk}/move/", {"name": "w9-i1"}, follow=True).content.decode()
    assert "There is no instance w9-i1" in gone
    assert set(ordered().values()) == {"2.11.1"}


@pytest.mark.parametrize("made_up", ["abc", "9" * 30])
def test_move_to_no_version_leads_back(admin_client, instances, made_up):
    assert admin_client.get(f"{LIST}{made_up}/move/")["Location"] == LIST


def test_instances_are_moved_back(admin_client, versions):
    new = versions[1]
    admin_client.post(f"{LIST}{new.pk}/move/", {"name": "w1-i1"})
    page = admin_client.get(f"{LIST}back/").content.decode()
    assert "Move w1-i1 to the default" in page
    assert "w2-i1" not in page
    assert "The default is 2.9.0." in page
    admin_client.post(f"{LIST}back/", {"name": "w1-i1"})
    assert set(ordered().values()) == {"2.9.0"}
    done = admin_client.post(f"{LIST}back/", {"name": "all"}, follow=True).content.decode()
    assert "moved back: w1-i1, w2-i1" in done
    assert not Version.objects.filter(is_default=True)
    assert "There is no default." in admin_client.get(f"{LIST}back/").content.decode()


@pytest.mark.parametrize(("group", "status"), [(None, 200), ("Operator", 403), ("Viewer", 403)])
def test_upload_is_offered_to_superusers(admin_client, group, status, versions):
    client = member(group) if group else admin_client
    assert client.get(f"{LIST}upload/").status_code == status
    assert ("Upload a VSIX" in client.get(LIST).content.decode()) is (status == 200)
    # What comes some other way than by the server's own has no file.
    assert client.post(f"{LIST}upload/").status_code == (415 if status == 200 else 403)


def test_needed_version_has_no_delete_button(admin_client, versions):
    old, new = versions
    assert admin_client.post(f"{LIST}{old.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{LIST}{new.pk}/delete/", {"post": "yes"}).status_code == 302
    assert [row.version for row in Version.objects.all()] == ["2.9.0"]


def test_version_stays_whose_files_stay(admin_client, versions, tmp_path):
    new = versions[1]
    (tmp_path / "binaries").mkdir()
    (tmp_path / "binaries" / new.version).touch()  # no folder, so it cannot be deleted as one
    page = admin_client.post(f"{LIST}{new.pk}/delete/", {"post": "yes"}, follow=True)
    assert page.status_code == 200
    assert "Not a directory" in page.content.decode()
    assert Version.objects.filter(pk=new.pk).exists()


@pytest.mark.parametrize(("group", "moves"), [("Operator", True), ("Viewer", False)])
def test_operators_move_and_do_not_delete(group, moves, versions):
    client, new = member(group), versions[1]
    assert client.get(LIST).status_code == 200
    assert client.post(f"{LIST}{new.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(f"{LIST}{new.pk}/move/", {"name": "all"})
    assert set(ordered().values()) == {"2.11.1" if moves else "2.9.0"}

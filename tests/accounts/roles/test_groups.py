import pytest
from django.contrib.auth.models import Group, Permission

from accounts.roles import groups

pytestmark = pytest.mark.django_db


def permissions_of(name):
    return set(Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename"))


def test_operator_may_do_everything_but_users():
    held = permissions_of(groups.OPERATOR)
    assert {app for app, _ in held} == set(groups.OPERATED)
    missing = {
        (each.content_type.app_label, each.codename) for each in Permission.objects.select_related("content_type")
    } - held
    assert {app for app, _ in missing} & set(groups.OPERATED) == {"accounts"}
    assert {name for app, name in missing if app == "accounts"} == {"add_apitoken", "change_apitoken", "view_content"}


def test_viewer_only_looks():
    held = permissions_of(groups.VIEWER)
    assert held == {(app, name) for app, name in permissions_of(groups.OPERATOR) if name.startswith("view_")}
    assert ("accounts", "view_usage") in held


def test_team_lead_has_keys_alone():
    assert permissions_of(groups.TEAM_LEAD) == {("accounts", name) for name in groups.LEADS}


def test_groups_are_brought_up_to_date():
    viewer = Group.objects.get(name=groups.VIEWER)
    viewer.permissions.set(Permission.objects.filter(codename__in=["delete_apikey", "view_usage"]))
    Group.objects.get(name=groups.OPERATOR).delete()
    groups.install()
    assert ("accounts", "delete_apikey") not in permissions_of(groups.VIEWER)
    assert ("accounts", "change_apikey") in permissions_of(groups.OPERATOR)

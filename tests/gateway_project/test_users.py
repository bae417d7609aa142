"""Staff who may edit users and groups, and would like to be more than that."""

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Team
from accounts.roles.groups import OPERATOR, TEAM_LEAD, VIEWER

pytestmark = pytest.mark.django_db

SHIPPED = (OPERATOR, TEAM_LEAD, VIEWER)
EDITORS = ("view_user", "add_user", "change_user", "delete_user", "view_group", "add_group", "change_group")
KEPT = {"is_superuser": "on", "is_staff": "on", "is_active": "on"}


def permissions(*names):
    return Permission.objects.filter(codename__in=names)


def user_of(name, *names, **fields):
    user = User.objects.create_user(name, password="before-it-was-changed", **fields)
    user.user_permissions.set(permissions(*names))
    return user


@pytest.fixture
def editor(client):
    user = user_of("editor", *EDITORS, is_staff=True)
    client.force_login(user)
    client.user = user
    return client


def change(client, user, **fields):
    told = {"username": user.username, "date_joined_0": "2026-11-28", "date_joined_1": "08:00:00", **fields}
    return client.post(reverse("admin:auth_user_change", args=[user.pk]), told)


def test_staff_cannot_raise_its_own_rights(editor):
    group = Group.objects.create(name="all")
    group.permissions.set(Permission.objects.all())
    everything = [each.pk for each in Permission.objects.all()]
    change(editor, editor.user, **KEPT, groups=[group.pk], user_permissions=everything, email="new@example.com")
    user = User.objects.get(pk=editor.user.pk)
    assert user.email == "new@example.com"
    assert (user.is_superuser, user.groups.count(), user.user_permissions.count()) == (False, 0, len(EDITORS))


def test_staff_makes_users_who_may_do_nothing(editor):
    told = {
        "username": "new",
        "password1": "a-long-enough-1",
        "password2": "a-long-enough-1",
        "usable_password": "true",
    }
    assert editor.post(reverse("admin:auth_user_add"), told | KEPT).status_code == 302
    user = User.objects.get(username="new")
    assert (user.is_superuser, user.is_staff) == (False, False)


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("way", ["superuser", "permissions", "group"])
def test_staff_cannot_take_over_who_may_do_more(editor, way, active):
    above = user_of("above", is_staff=True, is_active=active, is_superuser=way == "superuser")
    group = Group.objects.create(name="above")
    group.permissions.set(permissions("delete_apikey"))
    if way == "permissions":
        above.user_permissions.set(permissions("delete_apikey"))
    if way == "group":
        above.groups.add(group)
    before = above.password
    password = {"password1": "a-long-enough-1", "password2": "a-long-enough-1", "usable_password": "true"}
    answers = [
        change(editor, above, is_active="on"),
        editor.post(reverse("admin:auth_user_password_change", args=[above.pk]), password),
        editor.post(reverse("admin:auth_user_delete", args=[above.pk]), {"post": "yes"}),
    ]
    assert [each.status_code for each in answers] == [403, 403, 403]
    chosen = {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes"}
    editor.post(reverse("admin:auth_user_changelist"), chosen)
    user = User.objects.get(pk=above.pk)
    assert (user.password, user.is_active) == (before, active)


def test_staff_edits_who_may_do_no_more(editor):
    equal = user_of("equal", "change_user", is_staff=True)
    assert change(editor, equal, is_active="on", email="x@example.com").status_code == 302
    assert User.objects.get(pk=equal.pk).email == "x@example.com"


def test_staff_puts_no_permissions_into_a_group(editor):
    own = Group.objects.create(name="editors")
    editor.user.groups.add(own)
    everything = [each.pk for each in Permission.objects.all()]
    editor.post(reverse("admin:auth_group_change", args=[own.pk]), {"name": "renamed", "permissions": everything})
    editor.post(reverse("admin:auth_group_add"), {"name": "another", "permissions": everything})
    made = Group.objects.exclude(name__in=SHIPPED)
    found = {group.name: group.permissions.count() for group in made}
    assert found == {"renamed": 0, "another": 0}


def test_shipped_groups_keep_their_names(admin_client):
    lead = Group.objects.get(name="Team lead")
    admin_client.post(reverse("admin:auth_group_change", args=[lead.pk]), {"name": "Leads", "permissions": []})
    lead.refresh_from_db()
    assert (lead.name, lead.permissions.count()) == ("Team lead", 0)


def test_a_superuser_still_edits_everything(admin_client):
    user = user_of("plain")
    group = Group.objects.create(name="operators")
    chosen = permissions("view_apikey").get().pk
    told = {"is_superuser": "on", "is_active": "on", "groups": [group.pk], "user_permissions": [chosen]}
    change(admin_client, user, **told)
    admin_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "o", "permissions": [chosen]})
    user = User.objects.get(pk=user.pk)
    assert (user.is_superuser, user.groups.count(), user.user_permissions.count()) == (True, 1, 1)
    assert Group.objects.get(pk=group.pk).permissions.count() == 1


def test_failed_login_is_one_line_without_the_name(client, db, caplog):
    client.post("/admin/login/", {"username": "my-password-by-mistake", "password": "wrong"}, REMOTE_ADDR="10.0.0.9")
    [record] = [record for record in caplog.records if record.name == "accounts.login.events"]
    assert (record.getMessage(), record.fields) == ("a log-in failed", {"client": "10.0.0.9"})
    assert "mistake" not in caplog.text


@pytest.mark.parametrize("way", ["console", "add"])
def test_superusers_are_made_by_superusers_alone(editor, way):
    if way == "add":
        form = {"username": "new", "password1": "a-long-enough-1", "password2": "a-long-enough-1"}
        editor.post(reverse("admin:auth_user_add"), form | KEPT | {"usable_password": "true"})
    else:
        change(editor, user_of("new"), **KEPT)
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.parametrize("joined", [True, False])
def test_member_of_other_teams_is_out_of_reach(editor, joined):
    team, other = Team.objects.create(name="red"), user_of("other", email="old@example.com")
    team.members.set([other, editor.user] if joined else [other])
    assert change(editor, other, is_active="on", email="new@example.com").status_code == (302 if joined else 403)
    password = {"password1": "a-long-enough-1", "password2": "a-long-enough-1", "usable_password": "true"}
    answer = editor.post(reverse("admin:auth_user_password_change", args=[other.pk]), password)
    assert answer.status_code == (302 if joined else 403)
    other.refresh_from_db()
    assert (other.email == "new@example.com", other.check_password("a-long-enough-1")) == (joined, joined)


ROLES = {
    OPERATOR: {"superuser": False, "editor": False, "operator": True, "nobody": True},
    "superuser": {"superuser": True, "editor": True, "operator": True, "nobody": True},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("whom", ROLES[OPERATOR])
@pytest.mark.parametrize("way", ["console", "rest", "rest added", "console removed", "rest removed"])
def test_teams_of_who_may_do_more_stay(client, role, whom, way):
    reader = user_of("reader", is_staff=True, is_superuser=role == "superuser")
    reader.groups.set(Group.objects.filter(name=role))
    other = user_of("other", *(EDITORS if whom == "editor" else ()), is_superuser=whom == "superuser")
    other.groups.set(Group.objects.filter(name=OPERATOR if whom == "operator" else ""))
    client.force_login(reader)
    team = Team.objects.create(name="red")
    if "removed" in way:
        team.members.add(other)
    put_team(client, team, way, [] if "removed" in way else [other])
    found = Team.objects.filter(name__in=("red", "new"), members=other).exists()
    assert found == (ROLES[role][whom] != ("removed" in way))


def put_team(client, team, way, members):
    names = [each.username for each in members]
    if way == "rest added":
        client.post("/api/teams/", {"name": "new", "members": names}, "application/json")
    elif "rest" in way:
        client.patch(f"/api/teams/{team.pk}/", {"members": names}, "application/json")
    else:
        page = client.get(reverse("admin:accounts_team_change", args=[team.pk])).context["adminform"].form
        form = {name: page[name].value() or "" for name in page.fields} | {"name": "red"}
        form["members"] = [each.pk for each in members]
        client.post(reverse("admin:accounts_team_change", args=[team.pk]), form)


ADD = reverse("admin:auth_user_add")
PASSWORD = "a-long-enough-1"
SENTENCES = ("sees all usage", "keys of their own teams", "everything but users", "nothing of this console")


def test_each_group_is_a_sentence(admin_client, editor):
    page = admin_client.get(ADD).content.decode()
    assert [words for words in SENTENCES if words not in page] == []
    editor.force_login(editor.user)
    page = editor.get(ADD).content.decode()
    assert not re.search(r'name="(group|teams)"', page)


def test_viewer_is_added_by_one_form(admin_client):
    team, viewer = Team.objects.create(name="Ads"), Group.objects.get(name=VIEWER)
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    form = {"username": "vera", "email": "vera@example.com", "group": viewer.pk, "teams": [team.pk], **passwords}
    assert admin_client.post(ADD, form).url == reverse("admin:auth_user_changelist")
    user = User.objects.get(username="vera")
    assert (user.email, user.is_staff, user.is_superuser, user.check_password(PASSWORD)) == (
        "vera@example.com", True, False, True,
    )  # fmt: skip
    assert (list(user.groups.all()), list(user.teams.all())) == ([viewer], [team])


@pytest.mark.parametrize(
    ("first", "again", "words"),
    [(PASSWORD, "another", "not the same"), ("short", "short", "too short"), ("", "x", "not the same")],
)
def test_password_of_new_user_is_checked(admin_client, first, again, words):
    page = admin_client.post(ADD, {"username": "vera", "password1": first, "password2": again})
    assert words in page.content.decode()
    assert not User.objects.filter(username="vera").exists()


def test_editor_gives_no_group_by_hand(editor):
    team, operator = Team.objects.create(name="Ads"), Group.objects.get(name=OPERATOR)
    editor.post(ADD, {"username": "new", "group": operator.pk, "teams": [team.pk]})
    user = User.objects.get(username="new")
    assert (user.is_staff, user.groups.count(), user.teams.count()) == (False, 0, 0)


def invitation(page):
    assert "no-store" in page["Cache-Control"]
    return re.search(r"http://testserver(/invitation/[^<]+)<", page.content.decode())[1]


def test_invited_user_chooses_a_password(admin_client):
    link = invitation(admin_client.post(ADD, {"username": "vera"}))
    visitor = Client()
    page = visitor.get(link, follow=True)
    assert "Welcome, vera" in page.content.decode()
    form = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert visitor.post(page.request["PATH_INFO"], form).url == reverse("login")
    assert visitor.login(username="vera", password=PASSWORD)
    entries = AuditEntry.objects.filter(object_text="vera").order_by("id").values_list("action", "actor")
    assert list(entries) == [("created", "admin"), ("invited", "admin"), ("changed", "vera")]
    page = Client().get(link)
    assert (page.status_code, "used already" in page.content.decode()) == (404, True)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "set since"}, {"last_login": timezone.now()}])
def test_invitation_ends(admin_client, change):
    link = invitation(admin_client.post(ADD, {"username": "vera"}))
    User.objects.filter(username="vera").update(**change)
    assert Client().get(link).status_code == 404


def test_invitation_is_made_again(admin_client, editor):
    user = User.objects.create_user("vera", is_staff=True)
    again = reverse("admin:auth_user_invite", args=[user.pk])
    change_page = reverse("admin:auth_user_change", args=[user.pk])
    assert again in admin_client.get(change_page).content.decode()
    assert Client().get(invitation(admin_client.get(again))).status_code == 302
    user.groups.add(Group.objects.get(name=OPERATOR))
    editor.force_login(editor.user)
    assert editor.get(again).status_code == 403  # who may do more
    user.set_password(PASSWORD)
    user.save()
    admin_client.force_login(User.objects.get(username="admin"))
    assert again not in admin_client.get(change_page).content.decode()
    assert admin_client.get(again).status_code == 403


@pytest.mark.parametrize("link", ["x/y", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5/x-y", "_w/x-y"])
def test_link_that_nobody_made_is_none(client, link):
    assert client.get(f"/invitation/{link}/").status_code == 404


def test_deletion_refused_has_a_way_back(admin_client, admin_user):
    page = admin_client.get(reverse("admin:auth_user_delete", args=[admin_user.pk])).content.decode()
    assert "admin: that is you." in page
    assert f'href="{reverse("admin:auth_user_change", args=[admin_user.pk])}"' in page

"""Nobody locks themselves, or everybody, out of the console."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from tests.gateway_project.test_users import EDITORS, change, user_of

pytestmark = pytest.mark.django_db

ALL = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}


def errors_of(answer):
    return set() if answer.status_code == 302 else set(answer.context["adminform"].form.errors)


@pytest.mark.parametrize(
    ("lost", "with_another", "alone"),
    [("is_active", False, False), ("is_staff", False, False), ("is_superuser", True, False)],
)
def test_superusers_keep_their_own_place(admin_client, admin_user, lost, with_another, alone):
    fields = {name: value for name, value in ALL.items() if name != lost}
    assert errors_of(change(admin_client, admin_user, **fields)) == (set() if alone else {lost})
    User.objects.create_superuser("other")
    assert errors_of(change(admin_client, admin_user, **fields)) == (set() if with_another else {lost})


@pytest.mark.parametrize("lost", ALL)
def test_superuser_is_demoted_while_another_stays(admin_client, admin_user, lost):
    other = User.objects.create_superuser("other")
    fields = {name: value for name, value in ALL.items() if name != lost}
    assert errors_of(change(admin_client, other, **fields)) == set()
    other.refresh_from_db()
    assert not getattr(other, lost)


def test_editor_does_not_deactivate_themselves(client):
    editor = user_of("editor", *EDITORS, is_staff=True)
    client.force_login(editor)
    assert errors_of(change(client, editor, is_staff="on")) == {"is_active"}
    assert errors_of(change(client, editor, is_active="on")) == {"is_staff"}
    assert errors_of(change(client, editor, is_active="on", is_staff="on", email="e@example.com")) == set()


def test_bulk_deletion_spares_oneself_and_the_last(admin_client, admin_user):
    other = User.objects.create_user("other")
    both = {"action": "delete_selected", "_selected_action": [admin_user.pk, other.pk], "post": "yes"}
    admin_client.post(reverse("admin:auth_user_changelist"), both)
    assert User.objects.count() == 2
    alone = both | {"_selected_action": [other.pk]}
    admin_client.post(reverse("admin:auth_user_changelist"), alone)
    assert list(User.objects.all()) == [admin_user]

"""A form is open, and its row is deleted by somebody else: before the form is sent, or while it is saved."""

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import reverse

from accounts.models import AlertChannel, ApiKey, Team
from bridge.models import ModelAlias
from gateway_project.lib.pages.deleted_rows import StaysDeleted
from gateway_project.lib.secrets.secrets_at_rest import Secret

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def key():
    row = ApiKey(name="alice")
    row.renew_secret(b"pepper")
    row.save()
    return row


ROWS = {
    "accounts_apikey": key,
    "accounts_team": lambda: Team.objects.create(name="core"),
    "bridge_modelalias": lambda: ModelAlias.objects.create(pattern="mine-*", lingma_model="coder"),
    "accounts_alertchannel": lambda: AlertChannel.objects.create(
        name="ops", kind=AlertChannel.Kind.WEBHOOK, address=Secret.of(b"https://example.com/x")
    ),
}


@pytest.fixture(params=ROWS)
def form(request, admin_client):
    """A row, the address of its form, and what that would send."""
    row = ROWS[request.param]()
    page = reverse(f"admin:{request.param}_change", args=[row.pk])
    fields = admin_client.get(page).context["adminform"].form
    sent = {name: fields.get_initial_for_field(field, name) for name, field in fields.fields.items()}
    return row, page, {name: value for name, value in sent.items() if value not in (None, False)}


class Deleter:
    """Deletes the row at the last moment at which others can: before the form takes hold of it, to save it."""

    def __init__(self, row):
        table = row._meta.db_table
        self.row, self.holds = row, re.compile(rf'SELECT "{table}"."id" FROM "{table}" WHERE "{table}"."id" = ')
        self.insert = f'INSERT INTO "{table}"'
        self.is_done, self.inserts = False, []

    def __call__(self, execute, sql, params, many, context):
        if not self.is_done and self.holds.match(sql):
            self.is_done = True
            type(self.row)._base_manager.filter(pk=self.row.pk).delete()
        if sql.startswith(self.insert):
            self.inserts.append(sql)
        return execute(sql, params, many, context)


def test_form_of_a_row_saves_it(admin_client, form):
    _, page, sent = form
    assert admin_client.post(page, sent).status_code == 302


def test_row_deleted_before_stays_deleted(admin_client, form):
    row, page, sent = form
    type(row)._base_manager.filter(pk=row.pk).delete()
    shown = admin_client.post(page, sent, follow=True).content.decode()
    assert "Perhaps it was deleted" in shown
    assert not type(row)._base_manager.filter(pk=row.pk).exists()


def test_row_deleted_while_saved_stays_deleted(admin_client, form):
    row, page, sent = form
    deleter = Deleter(row)
    with connection.execute_wrapper(deleter):
        answer = admin_client.post(page, sent)
    assert deleter.is_done
    assert (answer.status_code, answer["Location"]) == (302, page.rpartition(f"{row.pk}/change")[0])
    assert "has been deleted meanwhile. Nothing was saved." in admin_client.get(answer["Location"]).content.decode()
    assert deleter.inserts == []


def test_row_deleted_while_list_saved_stays_deleted(admin_client):
    row = ROWS["bridge_modelalias"]()
    page = reverse("admin:bridge_modelalias_changelist")
    formset = admin_client.get(page).context["cl"].formset
    sent = {f"form-{name}": value for name, value in formset.management_form.initial.items()}
    for form in formset.forms:
        sent |= {f"{form.prefix}-id": form.instance.pk, f"{form.prefix}-position": form.instance.position + 1}
    deleter = Deleter(row)
    with connection.execute_wrapper(deleter):
        answer = admin_client.post(page, sent | {"_save": "Save"})
    assert deleter.is_done
    assert (answer.status_code, answer["Location"]) == (302, page)
    assert "has been deleted meanwhile. Nothing was saved." in admin_client.get(page).content.decode()
    assert deleter.inserts == []


def test_all_pages_with_forms_refuse_deleted_rows(rf, admin_user):
    request = rf.get("/")
    request.user = admin_user
    pages = {name: page for name, page in admin.site._registry.items() if page.has_change_permission(request)}
    assert len(pages) > 10
    assert [name for name, page in pages.items() if not isinstance(page, StaysDeleted)] == []

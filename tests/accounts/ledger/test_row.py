"""One list of columns."""

from django.contrib import admin

from accounts.ledger.row import UsageRow
from accounts.models import Usage

COLUMNS = {field.attname for field in Usage._meta.concrete_fields} - {"id"}


def test_the_table_has_the_columns_of_the_row():
    assert set(UsageRow.__struct_fields__) == COLUMNS


def test_the_console_shows_every_column(rf):
    page = admin.site.get_model_admin(Usage)
    sections = [section["fields"] for _, section in page.get_fieldsets(rf.get("/"))]
    flat = {name for fields in sections for line in fields for name in ([line] if isinstance(line, str) else line)}
    assert flat == {field.name for field in Usage._meta.concrete_fields} - {"id"}

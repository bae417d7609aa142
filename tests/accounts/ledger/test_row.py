"""One list of columns."""

from django.contrib import admin

from accounts.ledger.row import UsageRow
from accounts.models import Usage

COLUMNS = {field.attname for field in Usage._meta.concrete_fields} - {"id"}


def test_the_table_has_the_columns_of_the_row():
    assert set(UsageRow.__struct_fields__) == COLUMNS


def test_the_console_shows_every_column():
    sections = [section["fields"] for _, section in admin.site.get_model_admin(Usage).fieldsets]
    flat = {name for fields in sections for line in fields for name in ([line] if isinstance(line, str) else line)}
    assert flat == {name.removesuffix("_id") if name == "api_key_id" else name for name in COLUMNS}

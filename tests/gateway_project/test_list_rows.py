"""Lists of the console: what is made once for all rows is right in each of them."""

import re

import pytest
from django.urls import reverse

from accounts.models import Team
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db
KEYS, TEAMS = reverse("admin:accounts_apikey_changelist"), reverse("admin:accounts_team_changelist")


@pytest.fixture
def keys():
    return [make_key(f"key {number}") for number in range(3)]


def text_of(client, page, language="en"):
    return client.get(page, headers={"accept-language": language}).content.decode()


def test_each_row_has_its_own_box(admin_client, keys):
    boxes = re.findall(r'name="_selected_action" value="(\d+)"', text_of(admin_client, KEYS))
    assert sorted(map(int, boxes)) == sorted(key.pk for key in keys)


@pytest.mark.parametrize("languages", [("en", "zh-hans"), ("zh-hans", "en")])
def test_boxes_are_named_in_the_readers_language(admin_client, keys, languages):
    names = [set(re.findall(r'action-select" aria-label="([^"]+)"', text_of(admin_client, KEYS, each)))
             for each in languages]  # fmt: skip
    assert names == [{{"en": "Select record", "zh-hans": "选择记录"}[each]} for each in languages]


def test_rows_name_the_columns_of_their_list(admin_client, keys):
    Team.objects.create(name="research")
    for page, column, rows in ((KEYS, "Key", 3), (TEAMS, "Live keys", 1), (f"{KEYS}?o=-1", "Key", 3)):
        assert text_of(admin_client, page).count(f'data-label="{column}"') == rows


def test_second_line_stands_under_the_first(admin_client, keys):
    page = " ".join(text_of(admin_client, KEYS).split())
    assert all(f'>{key.name}</span></strong> <p class="text-base-500">{key.hint}</p>' in page for key in keys)

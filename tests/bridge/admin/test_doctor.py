"""The doctor's page in the console."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import translation

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:doctor")


@pytest.fixture(autouse=True)
def here(settings, redis_server, tmp_path):
    settings.REDIS_URL, settings.DATA_DIR = redis_server, tmp_path


def test_page_has_every_finding_and_the_worst_first(admin_client):
    page = admin_client.get(PAGE).content.decode()
    assert "no gateway runs on" in page
    assert "none is stored: each instance has that of its own work directory" in page
    levels = re.findall(r">\s*(to mend|to look at|OK)\s*</span>", page)
    assert levels == sorted(levels, key=["to mend", "to look at", "OK"].index)
    assert {"to look at", "OK"} <= set(levels)


def test_page_speaks_the_language_of_its_reader(admin_client):
    with translation.override(None):
        page = admin_client.get(PAGE, headers={"accept-language": "zh-CN"}).content.decode()
    assert "no gateway runs on" not in page
    assert "没有网关" in page


def test_page_is_for_those_who_see_instances(client, django_user_model):
    user = django_user_model.objects.create_user("ann", is_staff=True)
    client.force_login(user)
    assert client.get(PAGE).status_code == 403
    assert PAGE not in client.get(reverse("admin:index")).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_instance"))
    assert client.get(PAGE).status_code == 200

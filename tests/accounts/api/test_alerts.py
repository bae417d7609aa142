"""`/api/alerts/`."""

import pytest
from django.utils import timezone

from accounts.alerts.raising import raise_alert
from accounts.models import Alert

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def alerts(keys):
    now = timezone.now()
    return {name: raise_alert("new_network", ["203.0.113.0/24"], now, key=key) for name, key in keys.items()}


def test_alert_is_read_and_acknowledged(api, alerts):
    path = f"alerts/{alerts['core'].pk}/"
    found = api("GET", path).data
    assert (found["key"], found["facts"], found["acknowledged_at"]) == ("key of core", ["203.0.113.0/24"], None)
    assert found["text"].startswith("new network 203.0.113.0/24 since ")
    for _ in range(2):
        assert api("POST", f"{path}acknowledge/").data["acknowledged_by"] == "root"
    assert len(api("GET", "alerts/?state=open").data["results"]) == len(alerts) - 1
    assert [each["id"] for each in api("GET", "alerts/?state=acknowledged").data["results"]] == [alerts["core"].pk]
    assert api("POST", "alerts/", {"kind": "x"}).status_code == 405


def test_alerts_are_those_of_the_own_keys(lead, viewer, member, alerts):
    assert [each["key"] for each in lead("GET", "alerts/").data["results"]] == ["key of core"]
    assert lead("POST", f"alerts/{alerts['web'].pk}/acknowledge/").status_code == 404
    assert lead("POST", f"alerts/{alerts['core'].pk}/acknowledge/").status_code == 200
    assert viewer("POST", f"alerts/{alerts['web'].pk}/acknowledge/").status_code == 403
    assert len(viewer("GET", "alerts/").data["results"]) == len(alerts)
    assert member("GET", "alerts/").status_code == 403
    assert Alert.objects.filter(acknowledged_at=None).count() == len(alerts) - 1


def test_alert_of_another_version_is_a_warning(api, alerts):
    strange = Alert.objects.create(kind="of_tomorrow", lasts=True, facts=["i1"])
    found = {
        least: strange.pk in [each["id"] for each in api("GET", f"alerts/?severity={least}").data["results"]]
        for least in ("info", "warning", "critical")
    }
    assert found == {"info": True, "warning": True, "critical": False}
    answer = api("POST", f"alerts/{strange.pk}/acknowledge/")
    assert (answer.data["severity"], answer.data["acknowledged_by"]) == ("warning", "root")

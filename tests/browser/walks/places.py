"""The pages that all looks are taken at, and what has to be there for them."""

OURS = (
    "/usage/?range=7d", "/usage/?range=7d&reason=none", "/usage/?status=odd", "/usage/rows/?range=7d",
    "/usage/r/{request_id}", "/usage/r/{failed_id}", "/usage/r/{refused_id}",
    "/usage/r/req_00000000000000000000000000000000", "/usage/showback/", "/usage/showback/?by=key", "/playground/",
    "/display/", "/me/", "/account/", "/account/password/", "/account/app/add/", "/account/keys/add/",
    "/account/again/password/", "/invitation/MQ/nothing/",
)  # fmt: skip
CONSOLE = (
    "", "accounts/apikey/", "accounts/apikey/add/", "accounts/apikey/{key_id}/change/",
    "accounts/apikey/{key_id}/history/", "accounts/apikey/{key_id}/rotate/", "accounts/apikey/{key_id}/revoke/",
    "accounts/apikey/whose/", "accounts/team/", "accounts/team/add/", "accounts/team/{team_id}/change/",
    "accounts/usage/", "accounts/usage/{row_id}/change/", "accounts/auditentry/",
    "accounts/auditentry/{entry_id}/change/", "bridge/instance/", "bridge/instance/w1-i1/change/",
    "bridge/instance/size/", "bridge/instance/pause/", "bridge/login/refresh/", "bridge/maintenancewindow/",
    "bridge/maintenancewindow/add/",
    "live/", "live/log/w1-i1/", "doctor/", "bridge/login/", "bridge/login/add/", "bridge/login/spread/",
    "sessions_store/entry/", "bridge/modelalias/", "bridge/modelalias/add/", "bridge/modelalias/try/?name=gpt-5",
    "bridge/prompttemplate/", "bridge/prompttemplate/add/", "django_celery_beat/periodictask/",
    "django_celery_beat/periodictask/1/change/", "auth/user/", "auth/user/add/", "auth/user/1/change/",
    "auth/group/1/change/", "password_change/", "accounts/alert/", "accounts/alertchannel/",
    "accounts/alertchannel/add/", "accounts/apitoken/", "auth/group/",
)  # fmt: skip

IDS = """
import json
from django.utils import timezone
from accounts.keys import services
from accounts.models import ApiKey, AuditEntry, Team, Usage
services.create(ApiKey(name="looked at"))
row = Usage.objects.filter(status="ok").first()
about = {"api_key": ApiKey.objects.get(name="bob"), "protocol": "openai", "endpoint": "/v1/responses", "model": "gpt-5",
         "stream": True, "queue_ms": 0, "total_ms": 9, "prompt_tokens": 0, "completion_tokens": 0,
         "started_at": timezone.now()}
failed = Usage.objects.create(request_id=f"req_{1:032x}", status="error", reason="upstream", **about)
refused = Usage.objects.create(request_id=f"req_{2:032x}", status="refused", reason="rpm", allowed=1, value=1, **about)
print(json.dumps({"key_id": ApiKey.objects.get(name="bob").pk, "team_id": Team.objects.get(name="core").pk,
                  "row_id": row.pk, "request_id": row.request_id, "entry_id": AuditEntry.objects.first().pk,
                  "failed_id": failed.request_id, "refused_id": refused.request_id}))
"""

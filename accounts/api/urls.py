"""The addresses of the operators' API."""

from django.urls import path, re_path
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from accounts.api.alerts import AlertViewSet
from accounts.api.audit import AuditViewSet
from accounts.api.channels import ChannelViewSet
from accounts.api.keys import KeyViewSet
from accounts.api.schema import ASSETS, Docs, Document, asset
from accounts.api.teams import TeamViewSet
from accounts.api.usage import UsageViewSet

router = SimpleRouter()
router.register("teams", TeamViewSet)
router.register("keys", KeyViewSet)
router.register("usage", UsageViewSet)
router.register("alerts", AlertViewSet)
router.register("alert-channels", ChannelViewSet)
router.register("audit", AuditViewSet)
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="api-docs")),
    path("schema/", Document.as_view(), name="api-schema"),
    path("docs/", Docs.as_view(), name="api-docs"),
    re_path(rf"docs/(?P<name>{ASSETS})$", asset, name="api-asset"),
    *router.urls,
]

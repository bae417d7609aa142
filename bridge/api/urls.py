"""The addresses of this app's part of the operators' API."""

from rest_framework.routers import SimpleRouter

from bridge.api.instances import InstanceViewSet
from bridge.api.logins import LoginViewSet
from bridge.api.maintenance import MaintenanceWindowViewSet
from bridge.api.routing import AliasViewSet, PromptViewSet
from bridge.api.versions import VersionViewSet

router = SimpleRouter()
router.register("instances", InstanceViewSet)
router.register("logins", LoginViewSet)
router.register("versions", VersionViewSet)
router.register("maintenance-windows", MaintenanceWindowViewSet)
router.register("aliases", AliasViewSet)
router.register("prompts", PromptViewSet)
urlpatterns = router.urls

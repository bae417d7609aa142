"""The addresses of the operators' API."""

from rest_framework.routers import SimpleRouter

from accounts.api import KeyViewSet, UsageViewSet

router = SimpleRouter()
router.register("keys", KeyViewSet)
router.register("usage", UsageViewSet)
urlpatterns = router.urls

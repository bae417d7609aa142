"""The addresses of our own pages."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from accounts.pages.access import log_in, log_out
from accounts.pages.display import display
from accounts.pages.me import me
from accounts.pages.playground import begin_key, end_key, playground
from accounts.pages.request import find_request, usage_request
from accounts.pages.showback import showback_page
from accounts.pages.usage import usage, usage_rows

# Exports are in `gateway_project/urls`, as tokens of the API open them too.
urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", log_in, name="login"),
    path("login/", log_in, name="account_login"),  # as allauth calls it
    path("logout/", log_out, name="logout"),
    path("", include("accounts.pages.factors")),
    path("", include("accounts.pages.invitation")),
    path("display/", display, name="display"),
    path("display/language/", set_language, name="display_language"),
    path("me/", me, name="me"),
    path("playground/", playground, name="playground"),
    path("playground/key/", begin_key, name="playground_key"),
    path("playground/key/end/", end_key, name="playground_key_end"),
    path("usage/", usage, name="usage"),
    path("usage/r/", find_request, name="find_request"),
    path("usage/r/<str:any_id>", usage_request, name="usage_request"),
    path("usage/rows/", usage_rows, name="usage_rows"),
    path("usage/showback/", showback_page, name="showback"),
]
if settings.ENV.oidc_issuer:
    # After those of factors: `login/code/` is no provider.
    urlpatterns.append(path("", include("accounts.pages.provider")))

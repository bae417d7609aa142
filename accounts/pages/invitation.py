"""`/invitation/…`: somebody who was added without a password chooses one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpResponse
from django.urls import path, reverse_lazy
from django.utils.translation import gettext

from accounts.audit.context import Source, acting
from accounts.login.waits import address_of
from accounts.pages.layout import page


class Invitation(PasswordResetConfirmView):
    """By Django's links: they end with the password that was chosen, with a log-in, and after some days."""

    template_name = "pages/invitation.html"
    success_url = reverse_lazy("login")

    def get_user(self, uidb64: str) -> User | None:
        user: User | None = super().get_user(uidb64)
        # Of a user with a password nobody gets the account by a link that lay around.
        return user if user is not None and user.is_active and not user.has_usable_password() else None

    def render_to_response(self, context: dict[str, Any], **more: Any) -> HttpResponse:
        return super().render_to_response(context, **({} if self.validlink else {"status": 404}) | more)

    def form_valid(self, form: Any) -> HttpResponse:
        # Nobody is logged in, so the audit log would have `anonymous`.
        with acting(Source.CONSOLE, form.user.get_username(), address_of(self.request)):
            answer: HttpResponse = super().form_valid(form)
        messages.success(self.request, gettext("The password is set. Log in with it."))
        return answer


urlpatterns = [path("invitation/<uidb64>/<token>/", page(Invitation.as_view()), name="invitation")]

"""The forms of passwords and codes: Django's and allauth's, with waits after wrong tries."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ReauthenticateForm
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.forms import ReauthenticateForm as ReauthenticateByCodeForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.login import waits
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError

LONGEST_CODE = 32


class LogInForm(AuthenticationForm):
    def clean(self) -> dict[str, Any]:
        name = self.cleaned_data.get("username")
        if name is None or not self.cleaned_data.get("password"):
            return super().clean()
        # Counted before it is checked: else a thousand tries at once would all be the first.
        waits.begin_password(self.request, name)
        cleaned = super().clean()
        waits.password_was_right(self.request, name)
        return cleaned


class PasswordAgainForm(ReauthenticateForm):  # type: ignore[misc]  # allauth has no types
    def clean_password(self) -> str:
        """Of somebody who is logged in already: whoever finds an open browser may not try without an end."""
        waits.begin_code(self.user)
        password: str = super().clean_password()
        waits.code_was_right(self.user)
        return password


class ChangePasswordForm(PasswordChangeForm):
    def clean_old_password(self) -> str:
        waits.begin_code(self.user)
        password = super().clean_old_password()
        waits.code_was_right(self.user)
        return password


class _Waits:
    """Of a form with a code: tries are counted, and a code is taken once."""

    user: Any
    cleaned_data: dict[str, Any]

    def clean_code(self) -> str:
        waits.begin_code(self.user)
        # As allauth compares it: with other signs between its digits it is the same code, and was used already.
        code = self.cleaned_data["code"] = normalize_user_code(self.cleaned_data["code"])
        if len(code) > LONGEST_CODE:
            raise ValidationError(gettext("This is no code."))
        try:
            cleaned: str = super().clean_code()  # type: ignore[misc]  # a form's
        except SecretUnreadableError:
            raise ValidationError(gettext("Codes cannot be checked now: SECRET_KEYS lacks their key.")) from None
        if not waits.is_first_use(self.user, cleaned):
            raise ValidationError(gettext("This code was used already; wait for the next one."))
        waits.code_was_right(self.user)
        return cleaned


class CodeForm(_Waits, AuthenticateForm):  # type: ignore[misc]
    """The second step of a log-in."""


class CodeAgainForm(_Waits, ReauthenticateByCodeForm):  # type: ignore[misc]
    """Before second factors are changed."""


class ActivateForm(_Waits, ActivateTOTPForm):  # type: ignore[misc]
    """The first code of an authenticator app."""


class AddKeyForm(AddWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(label=_("Name"), max_length=64, required=False)


def has_second_factor(user: Any) -> bool:
    """Codes for recovery are none by themselves."""
    factors = Authenticator.objects.filter(user_id=user.pk)
    return bool(factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists())

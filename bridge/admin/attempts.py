"""The page of a login on which it is made anew: the ways, the attempt that runs, and those before."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from accounts.audit.entries import record_object
from bridge.fleet import attempts
from bridge.models import Login, LoginAttempt
from bridge.models.attempt import KEPT
from bridge.status.attempts import WAYS, AttemptReason, AttemptResult, AttemptState
from bridge.status.logins import LoginKind
from gateway_project.lib.pages.cells import ago
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError
from gateway_project.lib.visible import visible


class Way(NamedTuple):
    """A button."""

    value: str
    label: str
    variant: str


class Ended(NamedTuple):
    """A row of the history, in the reader's language."""

    begun_at: Any
    way: str
    reason: str
    who: str
    took: str
    result: str
    detail: str
    advice: str
    is_good: bool
    picture: str


class LoginAttempts:
    """A mixin for the page of logins."""

    actions_detail: ClassVar = ["log_in"]

    @action(description=_("Log in"), url_path="log-in", icon="login")
    def log_in(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A GET only leads there."""
        try:
            return HttpResponseRedirect(reverse("admin:bridge_login_attempts", args=[object_id]))
        except NoReverseMatch:  # whoever asks has made it up
            raise Http404 from None

    @display(description=_("Latest attempt"))
    def latest_attempt(self, obj: Login) -> str | None:
        """How far it is or how it ended, and where more of it stands."""
        attempt = obj.attempts.defer("pasted", "screenshot").first()
        if attempt is None:
            return None
        words = _outcome(attempt) if attempt.ended_at else str(attempt.get_state_display())
        shown = gettext("%(state)s, begun %(ago)s") % {"state": words, "ago": ago(attempt.begun_at)}
        return format_html('<a href="{}">{}</a>', reverse("admin:bridge_login_attempts", args=[obj.pk]), shown)

    def get_urls(self) -> list[Any]:
        """Also the page of attempts, the part of it that changes, and pictures."""
        view = self.admin_site.admin_view  # type: ignore[attr-defined]  # of the page it is mixed into
        return [
            path("<int:login>/attempts/", view(self.attempts_view), name="bridge_login_attempts"),
            path("<int:login>/attempts/now/", view(self.attempt_view), name="bridge_login_attempt"),
            path("<int:login>/attempts/<int:attempt>.png", view(self.picture_view), name="bridge_login_picture"),
            *super().get_urls(),  # type: ignore[misc]  # as above
        ]

    def attempts_view(self, request: HttpRequest, login: int) -> HttpResponse:
        page: Any = self
        found, may_change = self._login(request, login), self._may_change(request)
        if request.method == "POST":
            if not may_change:
                raise PermissionDenied
            _do(request, found)
            return HttpResponseRedirect(request.path)
        rows = list(found.attempts.defer("pasted")[:KEPT])
        context = page.admin_site.each_context(request) | {
            "title": gettext("Log in: %(login)s") % {"login": visible(found.label)}, "opts": page.opts, "login": found,
            "may_change": may_change, "ways": _ways(found),
            "history": [_ended(each, may_change) for each in rows if each.ended_at],
            **_now(next((each for each in rows if not each.ended_at), None), may_change),
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/login/attempts.html", context)

    def attempt_view(self, request: HttpRequest, login: int) -> HttpResponse:
        """The part that changes. Its headers say how far the attempt is."""
        latest = self._login(request, login).attempts.defer("pasted", "screenshot").first()
        running = latest if latest is not None and latest.ended_at is None else None
        answer = TemplateResponse(request, "admin/bridge/login/attempt.html", _now(running, self._may_change(request)))
        answer.headers["X-Attempt-State"] = running.state if running is not None else "none"
        if running is None:
            answer.headers["X-Attempt-Over"] = "1"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def picture_view(self, request: HttpRequest, login: int, attempt: int) -> HttpResponse:
        """What the page showed as an attempt failed."""
        found = self._login(request, login).attempts.filter(pk=attempt).exclude(screenshot=None).first()
        if not self._may_change(request):
            raise PermissionDenied
        if found is None or found.screenshot is None:
            raise Http404
        try:
            picture = found.screenshot.read()
        except SecretUnreadableError as exc:
            raise Http404(str(exc)) from None
        record_object("viewed", found, {})
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return HttpResponse(picture, "image/png", headers=headers)

    def _login(self, request: HttpRequest, pk: int) -> Login:
        page: Any = self
        if not page.has_view_permission(request):
            raise PermissionDenied
        found: Login | None = Login.objects.defer("bundle").filter(pk=pk).first()
        if found is None:
            raise Http404
        return found

    def _may_change(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bridge.change_login")


def _do(request: HttpRequest, login: Login) -> None:
    try:
        if request.POST.get("do"):
            _help(request, login)
        elif way := request.POST.get("way"):
            _begin(request, login, way)
    except ValidationError as exc:
        messages.error(request, " ".join(exc.messages))


def _help(request: HttpRequest, login: Login) -> None:
    """Or end the attempt. Raise ValidationError."""
    running = login.attempts.filter(ended_at=None).first()
    if running is None:
        raise ValidationError(gettext("No attempt to log in runs."))
    if request.POST["do"] == "paste":
        attempts.paste(running, request.POST.get("pasted", ""))
        messages.success(request, gettext("Passed on."))
    elif request.POST["do"] == "cancel":
        attempts.cancel(running)


def _begin(request: HttpRequest, login: Login, way: str) -> None:
    if way not in {each.value for each in WAYS}:
        raise ValidationError(gettext("There is no such way to log in."))
    tokens = request.POST.get("tokens", "").encode() if way == LoginKind.DEVICE else b""
    _attempt, is_new = attempts.begin(login, LoginKind(way), AttemptReason.OPERATOR, tokens)
    if not is_new:
        messages.info(request, gettext("An attempt runs already."))


def _ways(login: Login) -> list[Way]:
    """In a browser always; by itself where there are credentials."""
    own = LoginKind(login.kind)
    found = [Way(LoginKind.BROWSER, gettext("Log in with a browser"), "default" if own.has_credentials else "primary")]
    if own.has_credentials and login.credentials is not None:
        words = {
            LoginKind.AK_SK: gettext("Log in with the access key"),
            LoginKind.PERSONAL_TOKEN: gettext("Log in with the personal token"),
            LoginKind.AUTOMATIC: gettext("Log in by itself"),
        }
        found.insert(0, Way(own, words[own], "primary"))
    return found


def _now(attempt: LoginAttempt | None, may_change: bool) -> dict[str, Any]:
    if attempt is None:
        return {"attempt": None}
    url = attempt.url if may_change and attempt.url.startswith(("https://", "http://")) else ""
    return {"attempt": attempt, "url": url, "took": _took(attempt), "detail": _said(attempt)}


def _ended(attempt: LoginAttempt, may_change: bool) -> Ended:
    result = AttemptResult(attempt.result)
    picture = reverse("admin:bridge_login_picture", args=[attempt.login_id, attempt.pk])
    return Ended(
        attempt.begun_at, attempt.get_way_display(), attempt.get_reason_display(), visible(attempt.who), _took(attempt),
        capfirst(_outcome(attempt)), _said(attempt),
        gettext(result.advice) if result.advice else "", attempt.state == AttemptState.DONE,
        picture if may_change and attempt.screenshot is not None else "",
    )  # fmt: skip


def _outcome(attempt: LoginAttempt) -> str:
    result = AttemptResult(attempt.result)
    return gettext(result.label) if result else str(attempt.get_state_display())


def _said(attempt: LoginAttempt) -> str:
    """In the words of whoever said it; those of ours are translated."""
    return visible(gettext(attempt.detail)) if attempt.detail else ""


def _took(attempt: LoginAttempt) -> str:
    return gettext("%(seconds)d s") % {"seconds": round(attempt.took.total_seconds())}

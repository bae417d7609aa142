"""What operators do with logins, by whatever way: import one, and say which instances have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

import redis
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext

from bridge.fleet import mirror
from bridge.logins.bundle import Bundle
from bridge.logins.credentials import BadCredentials
from bridge.logins.credentials import read as credentials_of
from bridge.models import Instance, InstanceOrder, Login
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginKind
from bridge.status.states import InstanceState
from gateway_project.lib.database.first_change import changed
from gateway_project.lib.secrets.secrets_at_rest import Secret
from gateway_project.lib.translated import translated

ATTACHED: Final = "attached"
LARGEST_CREDENTIALS: Final = 64 << 10
USEFUL: Final = (AccountState.UNKNOWN, AccountState.LOGGED_IN, AccountState.NETWORK_ERROR, AccountState.ERROR)


def import_bundle(label: str, bundle: Bundle, endpoint: str | None = None) -> Login:
    """Make these files a new generation of the login of that label; make the login where there is none."""
    with transaction.atomic():
        login = _of_label(label)
        login.take(bundle.packed())
        return _saved(login, endpoint)


def make(label: str, kind: LoginKind, endpoint: str | None = None) -> Login:
    """A login that somebody is to log in to. Raise ValidationError."""
    with transaction.atomic():
        login = _of_label(label)
        login.kind = kind
        return _saved(login, endpoint)


def import_credentials(label: str, kind: LoginKind, credentials: bytes, endpoint: str | None = None) -> Login:
    """Store what a login of this kind is made with. Raise ValidationError."""
    check_credentials(kind, credentials)
    with transaction.atomic():
        login = _of_label(label)
        login.kind, login.credentials = kind, sealed(credentials)
        return _saved(login, endpoint)


def sealed(credentials: bytes) -> Secret:
    """As they are stored: with their blanks, which may be those of a password."""
    return Secret.of(credentials.strip(b"\r\n"))


def check_credentials(kind: LoginKind, given: bytes) -> None:
    """Raise ValidationError, which has nothing of them."""
    if not given.strip() or len(given) > LARGEST_CREDENTIALS:
        raise ValidationError(gettext("These are no credentials: they are empty or too long."))
    try:
        credentials_of(kind, given)
    except BadCredentials as exc:
        raise ValidationError(translated(exc.text)) from None


def check_kind(login: Login, kind: LoginKind) -> None:
    """Whether it may become one of that kind as it is: what is stored would be sent as what it is not.

    Raise ValidationError.
    """
    before = LoginKind(login.kind)
    if kind is before or login.credentials is None or not (before.has_credentials and kind.has_credentials):
        return
    raise ValidationError(
        gettext(
            "The stored credentials are of another kind. Give those of this one, in the console or by lingma_login."
        )
    )


def _of_label(label: str) -> Login:
    return Login.objects.select_for_update().filter(label=label).first() or Login(label=label)


def _saved(login: Login, endpoint: str | None) -> Login:
    """Raise ValidationError."""
    if endpoint is not None:
        login.endpoint = endpoint
    login.full_clean()
    try:
        with transaction.atomic():
            login.save()
    except IntegrityError:
        login.validate_unique()  # somebody else has made it since
        raise
    return login


def instances_there(redis_url: str) -> list[Instance]:
    """Those that may be given a login: started here, and alive."""
    try:
        there: Iterable[Instance] = mirror.current(redis_url)
    except redis.RedisError:
        there = Instance.objects.all()
    return sorted((each for each in there if each.upstream != ATTACHED and each.state != InstanceState.GONE),
                  key=lambda each: each.name)  # fmt: skip


def require_there(label: str, names: Collection[str], redis_url: str) -> None:
    """Raise ValidationError where one of these instances cannot have the login of that label."""
    before = set(InstanceOrder.objects.filter(login__label=label).values_list("name", flat=True))
    known = {each.name for each in instances_there(redis_url)} | before
    if unknown := sorted(set(names) - known):
        raise ValidationError(
            {"instances": gettext("There is no instance %(name)s that could have a login. There are: %(known)s.")
             % {"name": unknown[0], "known": ", ".join(sorted(known)) or gettext("none")}}
        )  # fmt: skip


def assign(login: Login, names: Collection[str], redis_url: str) -> None:
    """Have these instances, and no others, use the login. Raise ValidationError."""
    require_there(login.label, names, redis_url)
    before = set(login.orders.values_list("name", flat=True))
    with transaction.atomic():
        for name in sorted(set(names) - before):
            _give(name, login)
        for name in sorted(before - set(names)):
            _give(name, None)


def spreading(redis_url: str) -> dict[str, Login]:
    """Which login each instance without one would get, evenly; none that is known to be of no use now."""
    there = _names_there(redis_url)
    return _evenly(_useful(), there, there)


def spread(redis_url: str, names: Collection[str] | None = None) -> dict[str, Login]:
    """Do it, for these of them. Of several processes that do it at once each knows what the others have given."""
    if not _useful().exists():
        return {}
    there = _names_there(redis_url)  # before the transaction, which Redis must not hold up
    with transaction.atomic():
        # Not against keys that refer to them: who assigns one of them by hand waits for nobody.
        locked = _useful().select_for_update(no_key=True).order_by("pk")
        given = _evenly(locked, there if names is None else sorted(names), there)
        for name, login in given.items():
            changed(InstanceOrder, partial(_fill, login), name=name)
    return given


def _useful() -> QuerySet[Login]:
    useful = Login.objects.filter(generation__gt=0, problem="", account__in=USEFUL)
    return useful.defer("bundle", "credentials")


def _names_there(redis_url: str) -> list[str]:
    return [each.name for each in instances_there(redis_url)]


def _evenly(logins: Iterable[Login], names: Iterable[str], there: Collection[str]) -> dict[str, Login]:
    """A login for each of the names without one. Those of instances that are gone for good are in nobody's use."""
    logins = list(logins)
    taken = dict(InstanceOrder.objects.exclude(login=None).values_list("name", "login"))
    uses, given = Counter(login for name, login in taken.items() if name in there), {}
    for name in names:
        if name in taken or not logins:
            continue
        login = min(logins, key=lambda each: (uses[each.pk], each.label))
        uses[login.pk] += 1
        given[name] = login
    return given


def _fill(login: Login, order: InstanceOrder) -> None:
    """Unless somebody has assigned one meanwhile."""
    if order.login_id is None:
        order.login = login


def _give(name: str, login: Login | None) -> None:
    changed(InstanceOrder, lambda order: setattr(order, "login", login), name=name)

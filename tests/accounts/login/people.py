"""Users of the tests, and what an authenticator app of theirs would show."""

import time

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User

PASSWORD = "a good password"


def person(name="anna", staff=False, **fields):
    return User.objects.create_user(name, password=PASSWORD, is_staff=staff, **fields)


def log_in(client, name="anna", password=PASSWORD, path="/login/", **fields):
    return client.post(path, {"username": name, "password": password, **fields})


def code_of(secret, steps=1):
    """What the app will show so many steps of 30 s from now. One step early is accepted, and still is a step later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def add_app(client):
    """Set an authenticator app up as people do; its secret."""
    secret = client.get("/account/app/add/").context["form"].secret
    answer = client.post("/account/app/add/", {"code": code_of(secret, 0)})
    assert answer.url == "/account/recovery/"
    return secret


def recovery_codes(client):
    return client.get("/account/recovery/").context["unused_codes"]

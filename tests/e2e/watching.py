"""The WebSocket of the live page, as a browser uses it."""

import json
from contextlib import contextmanager

from websockets.sync.client import connect

from tests.e2e.installation import django

LOG_IN = """
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get(username="admin"))
print(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value, sep="=")
"""


@contextmanager
def watching(gateway):
    """`found(is_wanted)`: the first snapshot that is wanted."""
    site = f"127.0.0.1:{gateway.port}"
    cookie = django(gateway.data_dir, LOG_IN).strip()
    headers = {"Cookie": cookie}
    with connect(
        f"ws://{site}/admin/live/socket/", origin=f"http://{site}", additional_headers=headers, compression=None
    ) as socket:

        def found(is_wanted):
            for _ in range(60):
                if is_wanted(snapshot := json.loads(socket.recv(30))):
                    return snapshot
            raise AssertionError(snapshot)

        yield found


def begun(snapshot, request_id):
    """The turn, once it has its first token."""
    return next(
        (each for each in snapshot["turns"] if each["id"] == request_id and each["first_token_ms"] is not None), None
    )

"""The ASGI application: the model endpoints ahead of Django, everything else through it."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path

from gateway_project.env import load
from gateway_project.lib.prometheus_values import install_fast_values
from gateway_project.server.bodies import BoundedBodies
from gateway_project.server.forwarded import Forwarded, TrustedProxies
from gateway_project.server.pages import Pages
from gateway_project.server.uploads import UPLOADS, Uploads
from gateway_project.server.upstream_header import NamesUpstream

# Before Django: its apps make metrics when they are imported, and those must be of the fast kind.
install_fast_values()
# Sets Django up, so it comes before what imports models.
django_application = NamesUpstream(
    Uploads(
        BoundedBodies(Pages(get_asgi_application())),
        settings.DATA_DIR / "uploads",
        settings.ENV.lingma_upload_max_bytes,
        UPLOADS,
    )
)

from bridge.http.live import PATH as LIVE_PATH
from bridge.http.live import LiveSocket
from bridge.http.private import PrivateApplication
from bridge.http.routing import CHAT_CONSUMERS, urlpatterns
from bridge.runtime import neighbours
from bridge.runtime.process import get_runtime, stop_runtime
from gateway_project.server import private

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def lifespan(_scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Start the instances with the server, and end them when its last stream has ended."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            # Instances start with the server, so that the first request does not wait for one.
            await get_runtime()
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop_runtime()
            await send({"type": "lifespan.shutdown.complete"})
            return


neighbours.serve = partial(private.serve, PrivateApplication())
live = LiveSocket(settings.SESSION_COOKIE_NAME, import_module(settings.SESSION_ENGINE).SessionStore)


async def websocket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The live page's, and no other: any other handshake is refused with a plain 403."""
    if scope["path"] == LIVE_PATH:
        await live(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.close"})


router = ProtocolTypeRouter(
    {
        "http": URLRouter([*urlpatterns, re_path("", django_application)]),  # type: ignore[arg-type]  # Channels calls it
        "lifespan": lifespan,
        "websocket": websocket,
    }
)


def route(scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
    """Route by path. A dict finds the consumer of a chat request, for a tenth of what the routes' patterns cost.

    Nothing stands between them and the server: each step of a request wakes all coroutines that wait for each other.
    """
    # A new consumer for each request: it holds the state of one.
    consumer = CHAT_CONSUMERS.get(scope["path"]) if scope["type"] == "http" else None
    served: Awaitable[None] = (consumer() if consumer else router)(scope, receive, send)
    return served


# Without trusted proxies nothing stands in between, not even a call.
trusted = TrustedProxies(load().trusted_proxies)
application = Forwarded(route, trusted) if trusted else route

"""Static files, each sent as a whole."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """WhiteNoise's, whose answers are iterators that an asynchronous server must not wait for.

    Django reads such an iterator to its end in a thread, and warns of it in the log. The largest file is some 300 KiB,
    so it is read here, in the thread that has the request.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file:
                content = found.file.read()
        answer = HttpResponse(content, status=int(found.status))
        # WhiteNoise names it where it is known.
        del answer["Content-Type"]
        for name, value in found.headers:
            answer[name] = value
        return answer

"""Takes the images of a turn to the service: from a `data:` or http(s) URL, past every check, to a URL upstream."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from bridge.chat.errors import (
    BadImage,
    ConnectionLost,
    InvalidRequest,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from bridge.images.fetch import Fetcher, FetchFailed, FetchOptions
from bridge.images.prepare import Prepared, TooMuchWork, Unusable, prepare
from bridge.images.sniff import kind_of
from bridge.telemetry import metrics
from gateway_project.lib.fair_line import FairThreads

logger = logging.getLogger(__name__)

REFUSED_URL = "invalid_image_url"
LONGEST_HEAD = 256  # of a data: URL, up to its comma
RETRY_SEC = 5

Upload = Callable[[str], Awaitable[str]]


class ImageOptions(msgspec.Struct, frozen=True):
    """Sizes in bytes and pixels. `upload_bytes` keeps the base64 form below the 10 MB it is known for (PROTOCOL 10)."""

    fetch_enabled: bool = False
    max_bytes: int = 10 << 20
    max_side: int = 2048
    max_count: int = 10
    most_pixels: int = 150_000_000
    """Of all images of a turn together: ten pictures of a phone, but not ten posters."""
    upload_bytes: int = 7_500_000
    most_waiting: int = 64
    """Large images of one key. Each is of another turn, which holds a place meanwhile."""
    longest_wait: float = 60.0
    """Seconds until an image is looked at."""
    fetch: FetchOptions = FetchOptions()


class UploadedImages(msgspec.Struct, frozen=True):
    """What the service calls the images, in their order, and how many of them it will not see."""

    urls: tuple[str, ...] = ()
    failed: int = 0


class _Image(msgspec.Struct, frozen=True):
    """A `data:` URL of the image's true type, and how many pixels were decoded for it."""

    url: str
    pixels: int


class ImagePipeline:
    """One per process: however many turns bring images, one large image at a time is decoded, and one small one.

    Keys take turns: nobody waits for more than one large image of each other key, and with a small one for none.
    """

    def __init__(self, options: ImageOptions) -> None:
        self._options = options
        self._fetcher = Fetcher(options.fetch, options.max_bytes)
        self._quick = FairThreads("small images")
        self._slow = FairThreads("large images")

    async def upload_all(self, sources: Sequence[str], upload: Upload, *, fresh: int, key: int = 0) -> UploadedImages:
        """Upload the newest of these as `data:` URLs; a failed upload of one costs only that one.

        `key` is whose they are. Raise InvalidRequest for what can never work: not an image, too large, a refused or
        unreachable address. But only of the `fresh` last ones, which somebody may still take back: an older one stands
        in the history for good, and would end the conversation. Raise RateLimited or Unavailable for more than can be
        prepared in good time.
        """
        # The newest are what the conversation is about; older ones were seen in earlier turns.
        newest = sources[-self._options.max_count :]
        surplus = len(sources) - len(newest)
        if surplus:
            metrics.IMAGE_FAILURES.labels("surplus").inc(surplus)
        urls: list[str] = []
        # One budget for all images of the turn, so that many large ones cannot hold the thread for minutes.
        pixels_left = self._options.most_pixels
        for number, source in enumerate(newest, 1):
            try:
                image = await self._image(source, f"Image {number + surplus} of {len(sources)}", pixels_left, key)
            except InvalidRequest:
                if number > len(newest) - fresh:
                    raise
                continue
            pixels_left -= image.pixels
            try:
                urls.append(await upload(image.url))
            except ConnectionLost:
                raise  # not the image's fault: the turn may be asked again, whole
            except UpstreamTimeout as exc:
                # The next one would wait as long, and the client with it.
                _count("timeout", exc, len(newest) - number + 1)
                break
            except UpstreamFailed as exc:
                _count("upload", exc)
        return UploadedImages(tuple(urls), len(sources) - len(urls))

    async def _image(self, source: str, name: str, pixels_left: int, key: int) -> _Image:
        try:
            # Fetched before it waits for the thread: a slow host holds nobody else up.
            fetched = None if _is_data(source) else await self._fetched(source, key)
            return await self._in_turn(key, partial(self._prepared, source, fetched, pixels_left))
        except Unusable as exc:
            metrics.IMAGE_FAILURES.labels("invalid").inc()
            kind = InvalidRequest if exc.code == REFUSED_URL else BadImage
            raise kind(f"{name}: {exc}.", code=exc.code) from None
        except FetchFailed as exc:
            metrics.IMAGE_FAILURES.labels("fetch").inc()
            raise InvalidRequest(f"{name}: {exc}.", code="failed_to_download_image") from None

    async def _in_turn(self, key: int, prepared: Callable[[bool], _Image]) -> _Image:
        """Where small images go, and from there, before there was any work, to where large ones go."""
        most, longest = self._options.most_waiting, self._options.longest_wait
        try:
            # How much work it is shows its header, and that is read in the thread too: base64 comes first.
            with suppress(TooMuchWork):
                return await self._quick.run(key, partial(prepared, True), longest)
            # A bound for each key, and not for all: one key cannot fill the line of others.
            if self._slow.waiting(key) >= most:
                message = f"{most} large images of this API key wait to be prepared; try again."
                raise RateLimited(message, retry_after=RETRY_SEC)
            return await self._slow.run(key, partial(prepared, False), longest)
        except TimeoutError:
            raise Unavailable("Too many images wait to be prepared; try again.", retry_after=RETRY_SEC) from None

    async def _fetched(self, source: str, key: int) -> bytes:
        if source[:8].lower().startswith(("http://", "https://")) and not self._options.fetch_enabled:
            raise Unusable("only data: URLs are accepted here; set IMAGE_FETCH_ENABLED", REFUSED_URL)
        return await self._fetcher.get(source, key)

    def _prepared(self, source: str, fetched: bytes | None, pixels_left: int, only_little: bool) -> _Image:
        """In a thread: base64 of megabytes takes long enough for others to notice. It is kept for nobody who waits."""
        options = self._options
        data = _decoded(source, options.max_bytes) if fetched is None else fetched
        if not data:
            raise Unusable("it is empty", "empty_image_file")
        # By its bytes: what the client declares may be wrong, and is passed to no decoder.
        kind = kind_of(data)
        if kind is None:
            raise Unusable("it is no PNG, JPEG, GIF or WebP image", "unsupported_image_media_type")
        image = prepare(
            data,
            kind,
            max_side=options.max_side,
            max_bytes=options.upload_bytes,
            pixels_left=pixels_left,
            only_little=only_little,
        )
        return _Image(_data_url(image), image.pixels)


def _data_url(image: Prepared) -> str:
    return f"data:image/{image.kind};base64,{base64.b64encode(image.data).decode()}"


def _count(reason: str, problem: UpstreamFailed, images: int = 1) -> None:
    metrics.IMAGE_FAILURES.labels(reason).inc(images)
    logger.warning("an image was not delivered: %s", problem.message)


def _is_data(source: str) -> bool:
    return source[:5].lower() == "data:"


def _decoded(source: str, max_bytes: int) -> bytes:
    """The bytes of a base64 `data:` URL, whatever type it declares. Raise Unusable."""
    comma = source.find(",", 0, LONGEST_HEAD)
    if comma < 0 or not source[:comma].lower().endswith(";base64"):
        raise Unusable("its data: URL is not in base64", "invalid_base64_image")
    # Before decoding: four characters are three bytes, less the padding.
    if (len(source) - comma - 1) * 3 // 4 - source[-2:].count("=") > max_bytes:
        raise Unusable(f"it is larger than {max_bytes} bytes", "image_file_too_large")
    try:
        # `validate`: by default Python skips every other character without a word.
        return base64.b64decode(source[comma + 1 :], validate=True)
    except ValueError:
        raise Unusable("its base64 cannot be decoded", "invalid_base64_image") from None

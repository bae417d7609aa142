"""The images of a turn: what can never work is the client's error; what the service does to one costs only that one."""

import asyncio
import base64

import pytest
from prometheus_client import REGISTRY

from bridge.chat.errors import ConnectionLost, InvalidRequest, RateLimited, Unavailable, UpstreamFailed, UpstreamTimeout
from bridge.images.pipeline import ImageOptions, ImagePipeline, UploadedImages
from tests.bridge.images.pictures import PNG, bomb, bytes_of, data_url, opened, picture
from tests.bridge.images.web import reply


class Upstream:
    """Takes uploads; what `fails` holds by their number is raised."""

    def __init__(self, **fails):
        self.taken = []
        self.fails = {int(number.removeprefix("n")): error for number, error in fails.items()}

    async def upload(self, url):
        self.taken.append(url)
        if error := self.fails.get(len(self.taken)):
            raise error
        return f"https://images.example/{len(self.taken)}"


def failures(reason):
    return REGISTRY.get_sample_value("lingma_gateway_image_failures_total", {"reason": reason}) or 0


async def delivered(*sources, upstream=None, fresh=10, **options):
    upstream = upstream or Upstream()
    return await ImagePipeline(ImageOptions(**options)).upload_all(
        sources, upstream.upload, fresh=fresh
    ), upstream.taken


async def test_many_large_pictures_are_refused_before_decoding():
    large = data_url(picture("png", (300, 100)))
    upstream = Upstream()
    with pytest.raises(InvalidRequest, match=r"Image 4 of 10: .* together"):
        await delivered(*[large] * 10, upstream=upstream, most_pixels=100_000)
    assert len(upstream.taken) == 3


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
async def test_image_is_uploaded_unchanged_under_its_true_type(kind):
    data = picture(kind)
    found, taken = await delivered(data_url(data, "image/svg+xml"))
    assert found == UploadedImages(("https://images.example/1",), 0)
    assert bytes_of(taken[0]) == (f"image/{kind}", data)


async def test_request_without_images_is_no_work():
    assert await delivered() == (UploadedImages((), 0), [])


@pytest.mark.parametrize("head", ["DATA:image/png;BASE64", "data:;base64", "data:image/png;name=a.png;base64"])
async def test_data_url_head_may_be_spelled_any_way(head):
    assert (await delivered(f"{head},{base64.b64encode(PNG).decode()}"))[0].failed == 0


@pytest.mark.parametrize(
    ("source", "why", "code"),
    [
        ("data:image/png,abc", "not in base64", "invalid_base64_image"),
        ("data:image/png;base64", "not in base64", "invalid_base64_image"),
        ("data:image/png;base64,", "it is empty", "empty_image_file"),
        ("data:image/png;base64,iVBOR", "cannot be decoded", "invalid_base64_image"),
        ("data:image/png;base64,iVB\nORw0", "cannot be decoded", "invalid_base64_image"),
        ("data:image/png;base64,iVBO_w0K", "cannot be decoded", "invalid_base64_image"),
        ("data:image/png;base64,é", "cannot be decoded", "invalid_base64_image"),
        (data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "no PNG", "unsupported_image_media_type"),
        (data_url(PNG[:40]), "cut off", "image_parse_error"),
        (data_url(bomb(20_000, 20_000)), "million pixels", "image_too_large"),
        (data_url(PNG + bytes(5000)), "larger than 4096 bytes", "image_file_too_large"),
        ("file:///etc/passwd", "only data:", "failed_to_download_image"),
        ("/etc/passwd", "only data:", "failed_to_download_image"),
        ("C:\\a.png", "do not belong", "failed_to_download_image"),
        ("https://a.example/a.png", "set IMAGE_FETCH_ENABLED", "invalid_image_url"),
        ("HTTP://a.example/a.png", "set IMAGE_FETCH_ENABLED", "invalid_image_url"),
    ],
)
async def test_hopeless_image_is_refused_with_the_reason(source, why, code):
    upstream = Upstream()
    with pytest.raises(InvalidRequest, match=f"Image 2 of 2: .*{why}") as caught:
        await delivered(data_url(PNG), source, upstream=upstream, max_bytes=4096)
    assert (caught.value.code, len(upstream.taken)) == (code, 1)


@pytest.mark.parametrize("broken", ["data:image/png;base64,AAAA", "data:image/png;base64,@", "https://a.example/a.png"])
async def test_broken_older_image_costs_only_itself(broken):
    got, taken = await delivered(broken, data_url(PNG), fresh=1)
    assert (got.failed, len(got.urls), len(taken)) == (1, 1, 1)
    with pytest.raises(InvalidRequest, match="Image 2 of 2"):
        await delivered(data_url(PNG), broken, fresh=1)


@pytest.mark.parametrize("surplus", [0, 1, 2])
async def test_the_limit_of_bytes_is_exact(surplus):
    data = PNG + bytes(1024 - len(PNG) + surplus)
    if surplus == 0:
        assert (await delivered(data_url(data), max_bytes=1024))[0].failed == 0
    else:
        with pytest.raises(InvalidRequest, match="larger than 1024"):
            await delivered(data_url(data), max_bytes=1024)


async def test_a_large_image_is_scaled_down():
    _, taken = await delivered(data_url(picture("jpeg", (400, 200))), max_side=100)
    kind, data = bytes_of(taken[0])
    assert (kind, opened(data).size) == ("image/jpeg", (100, 50))


async def test_newest_images_are_taken_and_others_failed():
    before = failures("surplus")
    pictures = [picture(colour=colour) for colour in ("red", "green", "blue")]
    found, taken = await delivered(*map(data_url, pictures), max_count=2)
    assert (len(found.urls), found.failed) == (2, 1)
    assert [bytes_of(each)[1] for each in taken] == pictures[1:]
    assert failures("surplus") == before + 1


async def test_lost_connection_ends_the_attempt_without_blame():
    before = failures("upload")
    with pytest.raises(ConnectionLost):
        await delivered(*[data_url(PNG)] * 3, upstream=Upstream(n2=ConnectionLost("lost")))
    assert failures("upload") == before


async def test_refused_image_costs_only_itself():
    before = failures("upload")
    found, _ = await delivered(*[data_url(PNG)] * 3, upstream=Upstream(n2=UpstreamFailed("not taken")))
    assert found == UploadedImages(("https://images.example/1", "https://images.example/3"), 1)
    assert failures("upload") == before + 1


async def test_images_after_a_timeout_are_not_tried():
    before, upstream = failures("timeout"), Upstream(n2=UpstreamTimeout("silence"))
    found, taken = await delivered(*[data_url(PNG)] * 4, upstream=upstream)
    assert (found, len(taken)) == (UploadedImages(("https://images.example/1",), 3), 2)
    assert failures("timeout") == before + 3


async def test_large_images_of_one_key_delay_no_other(record_property):
    """A small one waits for none of them, and a large one only for that which is worked on."""
    pipeline, upstream, order = ImagePipeline(ImageOptions()), Upstream(), []
    loop, standstill = asyncio.get_running_loop(), 0.0

    async def one(name, image, key):
        await pipeline.upload_all([image], upstream.upload, fresh=1, key=key)
        order.append(name)

    huge, small = data_url(picture("png", (4000, 4000))), data_url(PNG)
    attack = [asyncio.create_task(one("attack", huge, 1)) for _ in range(4)]
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(one("small", small, 2)), asyncio.create_task(one("large", huge, 3))]
    last = loop.time()
    while not all(each.done() for each in others):
        await asyncio.sleep(0.005)
        standstill, last = max(standstill, loop.time() - last), loop.time()
    record_property("longest standstill in ms", round(standstill * 1000))
    assert order.index("small") <= 1
    assert order.index("large") <= 3
    assert standstill < 2
    await asyncio.gather(*attack, *others)


async def test_large_images_of_a_key_wait_in_bounds():
    pipeline, upstream = ImagePipeline(ImageOptions(most_waiting=2, longest_wait=30)), Upstream()
    huge = data_url(picture("png", (3000, 3000)))
    requests = [pipeline.upload_all([huge], upstream.upload, fresh=1, key=1) for _ in range(6)]
    found = await asyncio.gather(
        *requests, pipeline.upload_all([huge], upstream.upload, fresh=1, key=2), return_exceptions=True
    )
    refused = [each for each in found if not isinstance(each, UploadedImages)]
    assert 0 < len(refused) <= 3
    assert {type(each) for each in refused} == {RateLimited}
    assert isinstance(found[-1], UploadedImages)


async def test_images_wait_for_a_bounded_time():
    pipeline, upstream = ImagePipeline(ImageOptions(longest_wait=0.05)), Upstream()
    huge = data_url(picture("png", (4000, 4000)))
    requests = [pipeline.upload_all([huge], upstream.upload, fresh=1, key=1) for _ in range(3)]
    found = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(each) for each in found} == {UploadedImages, Unavailable}


@pytest.fixture
def fetching(web):
    return {"fetch_enabled": True, "fetch": web.options()}


async def test_an_image_is_fetched_where_that_is_allowed(web, fetching):
    web.pages["/a.png"] = reply(PNG, Content_Type="text/plain")
    _, taken = await delivered(web.url("/a.png"), **fetching)
    assert bytes_of(taken[0]) == ("image/png", PNG)


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (reply(b"<html></html>"), "no PNG"),
        (reply(b""), "is empty"),
        (reply(PNG + bytes(5000)), "larger than 4096 bytes"),
        (reply(status="404 Not Found"), "status 404"),
    ],
    ids=["page", "nothing", "large", "gone"],
)
async def test_fetched_image_is_checked_like_a_sent_one(web, fetching, page, why):
    web.pages["/a.png"] = page
    with pytest.raises(InvalidRequest, match=f"Image 1 of 1: .*{why}"):
        await delivered(web.url("/a.png"), max_bytes=4096, **fetching)


async def test_private_address_is_refused_without_network_details(web, fetching):
    web.hosts["pictures.example"] = ["10.11.12.13"]
    before = failures("fetch")
    with pytest.raises(InvalidRequest) as caught:
        await delivered(web.url("/a.png"), **fetching)
    assert caught.value.message == "Image 1 of 1: its host has no public address."
    assert failures("fetch") == before + 1

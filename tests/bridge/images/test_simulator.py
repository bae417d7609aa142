"""From a client's URL to one of the service: the pipeline, an instance and a simulator process together."""

import pytest

from bridge.images.pipeline import ImageOptions, ImagePipeline
from tests.bridge.images.pictures import PNG, data_url, noise
from tests.bridge.pools import running, simulator


@pytest.fixture
async def upload(stack, tmp_path):
    """The upload of an instance over a simulator with these arguments."""

    async def upload(*arguments):
        pool = await stack.enter_async_context(running([simulator(tmp_path, "--login=auto", *arguments)]))
        return pool.instances[0].upload_image

    return upload


@pytest.mark.parametrize("manner", ["ok", "early", "twice", "request"])
async def test_image_is_delivered_once_however_announced(upload, manner):
    pipeline = ImagePipeline(ImageOptions())
    delivered = await pipeline.upload_all([data_url(PNG)] * 2, await upload(f"--image-upload={manner}"), fresh=2)
    assert (len(set(delivered.urls)), delivered.failed) == (2, 0)
    assert all(url.startswith("https://simulated.invalid/images/") for url in delivered.urls)


@pytest.mark.parametrize("manner", ["failed", "refused", "error"])
async def test_image_refused_by_the_service_counts_as_failed(upload, manner):
    delivered = await ImagePipeline(ImageOptions()).upload_all(
        [data_url(PNG)], await upload(f"--image-upload={manner}"), fresh=2
    )
    assert (delivered.urls, delivered.failed) == ((), 1)


async def test_largest_images_fit_the_service(upload):
    picture = noise((3000, 2900))
    assert 7_500_000 < len(picture) < 10 << 20
    pipeline = ImagePipeline(ImageOptions(max_side=4096))
    delivered = await pipeline.upload_all([data_url(picture)], await upload(), fresh=1)
    assert (len(delivered.urls), delivered.failed) == (1, 0)

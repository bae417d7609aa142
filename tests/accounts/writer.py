"""A process that writes usage rows until it is killed, telling of each one it has written."""

import asyncio
import sys
from pathlib import Path


async def main(url, spool):
    from accounts.ledger.ledger import Ledger
    from gateway_project.lib.redis.redis_link import RedisLink
    from tests.accounts.rows import row

    ledger = Ledger(RedisLink(url), Path(spool))
    for number in range(1_000_000):
        await ledger.write(row(f"killed-{number}"))
        print(f"killed-{number}", flush=True)


if __name__ == "__main__":
    import os

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
    django.setup()
    asyncio.run(main(*sys.argv[1:]))

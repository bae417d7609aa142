"""Puts into a gateway what a case needs, as a program in the gateway's own environment: `seeds.py WHAT ARGUMENTS…`."""

import asyncio
import sys

LIMITED_KEY = "bench-key-with-limits-0123456789"
TEAMS = 100
LIMITS = {"rpm": 10**8, "tpm": 10**9, "concurrency": 10**4, "requests_day": 10**8, "tokens_day": 10**9}


def key(number):
    """The secret of a key of `keys`."""
    return f"bench-key-{number:06}-0123456789"


def limited_key():
    from django.conf import settings

    from accounts.models import ApiKey, Team

    made = ApiKey(name="limited", team=Team.objects.create(name="limited", **LIMITS), **LIMITS)
    made.adopt(LIMITED_KEY, settings.KEY_PEPPER)
    made.save()


def keys(first, last):
    """The keys of these numbers, each of a team, and both with limits."""
    from django.conf import settings

    from accounts.models import ApiKey, Team

    teams = [Team.objects.get_or_create(name=f"bench {number}", defaults=LIMITS)[0] for number in range(TEAMS)]
    made = []
    for number in range(int(first), int(last)):
        made.append(ApiKey(name=f"bench {number}", team=teams[number % TEAMS], **LIMITS))
        made[-1].adopt(key(number), settings.KEY_PEPPER)
    ApiKey.objects.bulk_create(made, batch_size=500)


def sessions(count):
    """So many conversations that could be continued, of a hundred keys."""
    from django.conf import settings

    asyncio.run(_remember(settings.ENV, int(count)))


async def _remember(env, count):
    from gateway_project.lib.redis.redis_link import RedisLink
    from sessions_store.store import SessionStore

    link = RedisLink(env.redis_or_embedded_url)
    store = SessionStore(link, ttl=env.session_cache_ttl_sec, max_entries=env.session_cache_max_entries)
    for number in range(count):
        await store.remember(
            f"{number:064x}", session_id=f"bench-{number:030}", instance="lingma-1", generation=1,
            api_key_id=number % 100 + 1, length=2, hits=0, created_at=0.0,
        )  # fmt: skip


def rows(seed, count):
    """So many usage rows of the last 60 days."""
    from django.core.management import call_command

    call_command("seed_demo", rows=int(count), seed=int(seed), force=True)


if __name__ == "__main__":
    import django

    sys.path[0] = ""  # the gateway's checkout, not the folder of this file
    django.setup()
    {each.__name__: each for each in (limited_key, keys, sessions, rows)}[sys.argv[1]](*sys.argv[2:])

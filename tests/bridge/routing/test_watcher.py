"""Aliases and prompts on their way from the database into a running process."""

import asyncio
import importlib
from contextlib import asynccontextmanager, closing

import pytest
import redis
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection

from bridge.models import ModelAlias, PromptTemplate
from bridge.prompt.profile import DEFAULT_PROFILE
from bridge.routing import watcher as watcher_module
from bridge.routing.routes import Alias, Routes
from bridge.routing.watcher import Rules, read_rules, route_watcher
from gateway_project.lib.redis.redis_keys import ROUTES as KEY
from gateway_project.lib.redis.redis_link import RedisLink

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_rows(transactional_db):
    ModelAlias.objects.all().delete()


class Received(list):
    """The rules that a watcher passed on, in order."""

    def patterns(self):
        return [[alias.pattern for alias in rules.aliases] for rules in self]


@sync_to_async
def add(pattern):
    """In a thread, which outlives the test and must not keep its connection."""
    with closing(connection):
        ModelAlias.objects.create(pattern=pattern)


@asynccontextmanager
async def watcher_over(url, every=1000.0):
    link, received = RedisLink(url), Received()
    yield route_watcher(link, every, received.append), received
    await link.close()


async def test_rules_are_read_once_and_after_changes(redis_server):
    await add("first")
    async with watcher_over(redis_server) as (watcher, received):
        for _ in range(3):
            await watcher.refresh()
        await add("second")
        for _ in range(3):
            await watcher.refresh()
    assert received.patterns() == [["first"], ["first", "second"]]
    assert watcher.read.is_set()


@pytest.mark.parametrize("change", ["save", "delete", "update", "queryset delete", "in bulk"])
def test_every_way_to_change_a_rule_is_announced(redis_server, change):
    with redis.Redis.from_url(redis_server) as client:
        row = PromptTemplate.objects.create(pattern="*")
        before = int(client.get(KEY))
        {
            "save": row.save,
            "delete": row.delete,
            "update": lambda: PromptTemplate.objects.update(enabled=False),
            "queryset delete": PromptTemplate.objects.all().delete,
            "in bulk": lambda: PromptTemplate.objects.bulk_create([PromptTemplate(pattern="b*")]),
        }[change]()
        assert int(client.get(KEY)) > before


async def test_rules_are_polled_without_redis():
    async with watcher_over("unix:///nowhere/redis.sock", every=0.0) as (watcher, received):
        await watcher.refresh()
        await add("late")
        await watcher.refresh()
    assert received.patterns() == [[], ["late"]]


def test_change_is_saved_though_not_announced(settings, caplog):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    ModelAlias.objects.create(pattern="quiet")
    assert ModelAlias.objects.filter(pattern="quiet").exists()
    assert "could not be announced" in caplog.text


@pytest.fixture
def without_table():
    """The database as it is when something is wrong with it."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE bridge_modelalias RENAME TO hidden")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE hidden RENAME TO bridge_modelalias")


async def test_database_error_keeps_rules_and_is_logged_once(redis_server, caplog, without_table):
    async with watcher_over(redis_server, every=0.0) as (watcher, received):
        for _ in range(3):
            await watcher.refresh()
    assert received == []
    assert not watcher.read.is_set()
    assert ["degraded: database" in each for each in caplog.messages] == [True]


async def test_a_table_follows_until_it_is_cancelled(redis_server, monkeypatch):
    monkeypatch.setattr(watcher_module, "POLL_SEC", 0.01)
    async with watcher_over(redis_server) as (watcher, received):
        following = asyncio.create_task(watcher.follow())
        async with asyncio.timeout(30):
            await watcher.read.wait()
        following.cancel()
        await asyncio.wait({following})
    assert received == [Rules()]


def test_enabled_aliases_count_in_their_order():
    ModelAlias.objects.create(pattern="b", position=2, thinking="off")
    ModelAlias.objects.create(pattern="c", position=3, enabled=False)
    ModelAlias.objects.create(
        pattern="a", position=1, lingma_model="coder", ask_mode="agent", tool_mode="bridge", thinking="on",
        display_name="A",
    )  # fmt: skip
    expected = [Alias("a", "coder", "agent", "bridge", True, "A"), Alias("b", thinking=False)]
    assert read_rules().aliases == expected


def test_prompt_decides_whether_model_notation_counts():
    PromptTemplate.objects.create(pattern="a")
    PromptTemplate.objects.create(pattern="b", native_calls=False)
    assert [profile.native_calls for _, profile in read_rules().profiles] == [True, False]


def test_unusable_prompt_does_not_count(caplog):
    good = PromptTemplate.objects.create(pattern="good", description_chars=7)
    PromptTemplate.objects.create(pattern="bad", template="no placeholders at all")
    assert [(pattern, each.description_chars) for pattern, each in read_rules().profiles] == [("good", 7)]
    assert good.template == DEFAULT_PROFILE.template
    assert "bad" in caplog.text


SHIPPED = [
    ("claude-opus-4-5-20251101", "dashscope_qwen3_coder"),
    ("claude-sonnet-4-5", "dashscope_qwen3_coder"),
    ("claude-3-5-haiku-latest", "org_auto"),
    ("claude-opus-4-5-thinking", "dashscope_qwen_plus_20250428_thinking"),
    ("claude-something-new", "dashscope_qwen3_coder"),
    ("gpt-5.1-codex-mini", "dashscope_qwen3_coder"),
    ("gpt-5-mini", "org_auto"),
    ("gpt-4o", "dashscope_qwen3_coder"),
    ("o3", "dashscope_qwen_plus_20250428_thinking"),
    ("o4-mini", "dashscope_qwen_plus_20250428_thinking"),
]


def test_fresh_installation_knows_families_that_agents_request():
    migration = importlib.import_module("bridge.migrations.0004_shipped_aliases")
    for _ in range(2):  # what is there already is left as it is
        migration.ship(apps, connection.schema_editor())
    assert ModelAlias.objects.count() == len(migration.SHIPPED)
    rules = read_rules()
    routes = Routes(rules.aliases, rules.profiles)
    assert [(name, routes.of(name).lingma_model) for name, _ in SHIPPED] == SHIPPED
    assert not any(routes.has(name) for name in ("qwen-max", "ollama", "olmo-2", "llama"))


@pytest.mark.parametrize(
    "fields",
    [{"pattern": ""}, {"ask_mode": "odd"}, {"tool_mode": "odd"}, {"thinking": "odd"}, {"pattern": "TWICE"}],
)
def test_the_database_refuses_what_makes_no_sense(fields):
    ModelAlias.objects.create(pattern="twice")
    with pytest.raises(IntegrityError):
        ModelAlias.objects.create(**{"pattern": "x"} | fields)


def test_rules_without_a_database_are_an_error(without_table):
    with pytest.raises(DatabaseError):
        read_rules()

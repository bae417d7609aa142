"""The console in another language: who gets which, and that nothing stays English."""

import re
import time
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import msgspec
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError, connection
from django.test import Client, override_settings
from django.urls import path, reverse
from django.utils import timezone, translation
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, SolarSchedule

from accounts.models import ApiKey, Team, Usage
from bridge.models import Login, ModelAlias, PromptTemplate
from bridge.schedules import SCHEDULES, install
from bridge.status.instance import InstanceStatus
from bridge.status.states import OWN_STATES
from gateway_project.admin.users import permission_label
from gateway_project.lib import degraded

CHINESE = {"headers": {"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}}
LANGUAGE = reverse("set_language")
SHOWN_ATTRIBUTES = {"title", "placeholder", "aria-label", "alt", "data-label", "data-done", "data-failed", "value"}
UNSHOWN = {"script", "style", "code", "pre", "textarea", "datalist"}
WORDS = re.compile(r"\b[A-Za-z][A-Za-z']*(?:,? [A-Za-z][A-Za-z']*)+")
NAMES = re.compile(
    "Lingma Gateway|appendonly yes|make run|manage.py lingma_[a-z]+|manage.py pool [a-z]+ [\\w-]+|"
    "Claude Code|Cherry Studio|OpenAI Compatible|(OpenAI|Anthropic) (Node )?SDK|"
    "(pip|npm) install( openai)?|java Main|Celery worker|"
    "Check (alerts|instances)|Clean sessions|Prune answers of the API|Prune usage|manage.py create_api_token USER|"
    "Ask short questions|Look after logins|Sum finished days|Team lead|"
    "permission relationships?"  # Django makes this name when it is imported, in English
)
ZONE = re.compile(r"[A-Z]\w+/[\w/+ -]+")


class Texts(HTMLParser):
    """The texts of a page that somebody reads, and its links."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.links, self._within = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        icon = "material-symbols-outlined" in (attributes.get("class") or "")
        if tag not in {"input", "link", "meta", "br", "img", "hr", "path", "circle", "rect", "source"}:
            self._within.append((tag, tag in UNSHOWN or icon))
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])
        hidden = attributes.get("type") in {"hidden", "radio", "checkbox"} or tag in {"option", "button", "li"}
        shown = SHOWN_ATTRIBUTES - {"value"} if hidden else SHOWN_ATTRIBUTES
        self.texts += [attributes[name] for name in shown & attributes.keys() if attributes[name]]

    def handle_endtag(self, tag):
        while self._within and self._within.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if data.strip() and not any(unshown for _, unshown in self._within):
            self.texts.append(" ".join(data.split()))


def seed(server):
    """One of everything, named without blanks."""
    key = ApiKey(name="alice", team=Team.objects.create(name="blue"), rpm=5, tpm=5, concurrency=5)
    key.expires_at = timezone.now() + timezone.timedelta(days=3)
    key.renew_secret(b"pepper")
    key.save()
    for number, status in enumerate(Usage.Status):
        Usage.objects.create(
            request_id=f"r{number}", api_key=key, protocol="openai", endpoint="/v1/x", model="m", stream=True,
            status=status, reason="" if status == "ok" else "rpm", queue_ms=0, total_ms=9, prompt_tokens=1,
            completion_tokens=2, started_at=timezone.now(), agent="other", count=number + 1,
        )  # fmt: skip
    ModelAlias.objects.create(pattern="x-*", ask_mode="agent", tool_mode="bridge", thinking="on")
    PromptTemplate.objects.create(pattern="y-*")
    Login.objects.create(label="main", account="expired", problem="not_taken")
    Group.objects.create(name="readers")
    CrontabSchedule.objects.create()
    ClockedSchedule.objects.create(clocked_time=timezone.now())
    SolarSchedule.objects.create(event="sunset", latitude=1, longitude=1)
    install()
    with redis.Redis.from_url(server) as client:
        client.flushdb()
        for number, state in enumerate(OWN_STATES):
            facts = InstanceStatus(
                name=f"i{number}", process=1, pid=9, generation=1, state=state, login=True, in_flight=0, limit=8,
                restarts=0, last_error="exit-9", version="2.5.1", upstream="lingma", models=2, started_at=1.0,
                at=time.time(), model_names={"org_auto": "org_auto"},
            )  # fmt: skip
            client.set(f"lgw:instance:i{number}", msgspec.json.encode(facts))


def crawl(client, start):
    """The texts of each page that links lead to; of lists that differ by their query, each first one."""
    waiting, seen = [start], set()
    while waiting:
        address = waiting.pop()
        route = re.sub(r"/[^/]+/(change|delete|history|password|revoke)/", r"/1/\1/", urlsplit(address).path)
        if route in seen or "logout" in route or not route.startswith("/admin/"):
            continue
        seen.add(route)
        response = client.get(address, **CHINESE, follow=True)
        if response.streaming:  # a file to download
            continue
        page = Texts(response.content.decode())
        yield route, response.status_code, page.texts
        waiting += [urljoin(address, link) for link in page.links]


def english_in(texts):
    found = set()
    for text in texts:
        if not ZONE.fullmatch(text):
            found |= set(WORDS.findall(NAMES.sub("", text)))
    return sorted(found)


def english_on(response):
    return english_in(Texts(response.content.decode()).texts)


@pytest.fixture(autouse=True)
def own_language():
    """The test client leaves the language of the last page to its thread."""
    with translation.override(None):
        yield


@pytest.fixture
def everything(db, redis_server):
    ModelAlias.objects.all().delete()  # what was shipped has notes, which are the operators'
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_auditentry")  # these notes are in the audit log too
    seed(redis_server)
    yield
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()


def test_pages_of_the_console_leave_no_english(admin_client, everything):
    pages = {route: (status, english_in(texts)) for route, status, texts in crawl(admin_client, "/admin/")}
    assert len(pages) > 60
    assert {route: found for route, found in pages.items() if found != (200, [])} == {}


def test_periodic_tasks_are_listed_in_chinese(admin_client, everything):
    page = admin_client.get(reverse("admin:django_celery_beat_periodictask_changelist"), **CHINESE)
    texts = Texts(page.content.decode()).texts
    assert {name for name, *_ in SCHEDULES if name in texts} == set()
    assert {"检查实例", "提出简短问题", "汇总已结束的日子"} <= set(texts)


KEY = {"name": "bob", "rpm": 0, "tpm": 0, "concurrency": 0}
PROMPT = {"pattern": "z-*", "description_chars": 9, "position": 1}


@pytest.mark.parametrize(
    ("page", "form", "told"),
    [
        ("accounts_apikey_add", KEY, "请立即复制密钥"),
        ("accounts_apikey_add", KEY | {"name": "alice"}, "已有同名的有效密钥"),
        ("accounts_apikey_add", KEY | {"scopes": "x"}, "没有名为 x 的权限范围"),
        ("accounts_apikey_add", KEY | {"allowed_models": "m" * 200}, "最多 128 个字符"),
        ("accounts_apikey_add", KEY | {"allowed_models": "nobody"}, "目前没有名为 nobody 的模型或别名"),
        ("accounts_apikey_changelist", {"action": "revoke_selected"}, "吊销这 1 个密钥"),
        ("accounts_apikey_changelist", {"action": "revoke_selected", "confirmed": "yes"}, "已吊销 alice"),
        ("bridge_modelalias_add", {"pattern": "X-*", "position": 1}, "已有使用该匹配模式的别名"),
        ("bridge_modelalias_add", {"pattern": "甲 乙", "position": 1}, "模型名称不能含空白字符"),
        ("bridge_prompttemplate_add", PROMPT | {"template": "$open"}, "缺少 $tools：每个工具一行"),
        ("bridge_prompttemplate_add", PROMPT | {"template": "$"}, "$ 后必须跟占位符名称"),
        ("auth_user_add", {"username": "x", "password1": "y"}, "请更正以下错误"),
    ],
)
def test_answers_to_forms_are_translated(admin_client, everything, page, form, told):
    if "action" in form:
        form = form | {"_selected_action": ApiKey.objects.get(name="alice").pk}
    if form.get("name") == "alice":  # names are taken within a team
        form = form | {"team": Team.objects.get(name="blue").pk}
    answer = admin_client.post(reverse(f"admin:{page}"), form, **CHINESE, follow=True)
    assert told in answer.content.decode()
    assert english_on(answer) == []


def test_overview_translates_what_is_wrong(admin_client, everything, settings):
    degraded.begin("disk", "ENOSPC")
    page = admin_client.get("/admin/", **CHINESE)
    assert "降级运行：磁盘，自" in page.content.decode()
    assert "轮次照常；用量记录暂存于 Redis 或内存；指标保留在内存" in page.content.decode()
    assert re.search(r"实例 i\d：需要登录（exit-9）。", page.content.decode())
    assert english_on(page) == []
    settings.REDIS_URL = "unix:///nowhere.sock"
    page = admin_client.get("/admin/", **CHINESE)
    assert "无法连接 Redis" in page.content.decode()


def refuse(request):
    raise PermissionDenied


def break_down(request):
    raise RuntimeError


def lose_the_database(request):
    raise OperationalError


def serve_nobody(request):
    raise BadRequest


urlpatterns = [
    path("403/", refuse), path("500/", break_down), path("503/", lose_the_database), path("400/", serve_nobody),
]  # fmt: skip


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_error_pages_are_translated(status):
    page = Client(raise_request_exception=False).get(f"/{status}/", **CHINESE)
    assert page.status_code == status
    assert '<html lang="zh-hans">' in page.content.decode()
    assert english_on(page) == []


def test_failed_check_of_form_is_translated():
    page = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"}, **CHINESE)
    assert page.status_code == 403
    assert english_on(page) == []


LOGIN = reverse("login")


@pytest.mark.parametrize(
    ("asked", "given"),
    [("", "en"), ("zh", "zh-hans"), ("zh-CN", "zh-hans"), ("de", "en"), ("fr, zh-hans;q=0.1", "zh-hans"), ("!", "en")],
)
@pytest.mark.django_db
def test_language_follows_what_the_browser_asks_for(client, asked, given):
    page = client.get(LOGIN, headers={"accept-language": asked})
    assert f'<html lang="{given}"' in page.content.decode()
    assert page["Content-Language"] == given
    assert "Accept-Language" in page["Vary"]


@pytest.mark.django_db
def test_choice_of_language_needs_no_login_and_lasts():
    client = Client(enforce_csrf_checks=True)
    page = client.get(LOGIN)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())[1]
    form = {"language": "zh-hans", "csrfmiddlewaretoken": token}
    assert client.post(LANGUAGE, {"language": "zh-hans"}).status_code == 403
    assert client.get(LANGUAGE).status_code == 302
    assert settings.LANGUAGE_COOKIE_NAME not in client.cookies
    answer = client.post(LANGUAGE, form, headers={"referer": f"http://testserver{LOGIN}?next=/admin/auth/user/"})
    assert (answer.status_code, answer.url) == (302, f"http://testserver{LOGIN}?next=/admin/auth/user/")
    cookie = client.cookies[settings.LANGUAGE_COOKIE_NAME]
    assert (cookie.value, cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (
        "zh-hans",
        31536000,
        True,
        "Lax",
    )
    assert '<html lang="zh-hans"' in client.get(LOGIN, headers={"accept-language": "en"}).content.decode()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
@pytest.mark.django_db
def test_switch_leads_to_no_other_site(client, target):
    answer = client.post(LANGUAGE, {"language": "zh-hans", "next": target})
    assert (answer.status_code, answer.url) == (302, "/")


def test_unknown_language_changes_nothing(client):
    client.post(LANGUAGE, {"language": "xx"})
    assert settings.LANGUAGE_COOKIE_NAME not in client.cookies


def test_console_offers_each_language(admin_client):
    page = admin_client.get("/admin/").content.decode()
    assert page.count(f'action="{LANGUAGE}"') == len(settings.LANGUAGES)
    assert "简体中文" in page


def test_scripts_say_what_the_page_says(admin_client):
    texts = admin_client.get(reverse("admin:jsi18n"), **CHINESE).content.decode()
    assert "（点击清除）".encode("unicode_escape").decode() in texts  # ours
    assert "可用 %s".encode("unicode_escape").decode() in texts  # Django's


def test_page_of_record_shows_state_in_words(admin_client, everything):
    addresses = [
        reverse("admin:accounts_apikey_change", args=[ApiKey.objects.get(name="alice").pk]),
        reverse("admin:bridge_instance_change", args=["i1"]),
    ]
    for address, word in zip(addresses, ["有效", "就绪"], strict=True):
        texts = Texts(admin_client.get(address, **CHINESE).content.decode()).texts
        assert word in texts


def test_forms_show_seconds_in_chinese(admin_client, everything):
    key = ApiKey.objects.get(name="alice")
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk]), **CHINESE).content.decode()
    shown = timezone.localtime(key.expires_at)
    assert f'value="{shown:%Y-%m-%d}"' in page
    assert f'value="{shown:%H:%M:%S}"' in page


@pytest.mark.django_db
def test_names_of_permissions_are_as_django_stores_them():
    assert [permission_label(each) for each in Permission.objects.all()] == [
        str(each) for each in Permission.objects.all()
    ]

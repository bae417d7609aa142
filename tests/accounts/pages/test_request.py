import re
from datetime import UTC, datetime

import msgspec
import pytest
import redis
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from accounts.ledger import shared_rows
from accounts.ledger.row import UsageRow
from accounts.ledger.trace import Trace, encoded
from accounts.models import ApiKey, OpenTurn, Team, Usage
from accounts.pages.rows import row_of
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition, TransitionReason
from gateway_project.lib.redis.redis_link import RedisLink

pytestmark = pytest.mark.django_db
DIGITS = "0123456789abcdef" * 2
ID = f"req_{DIGITS}"
START = datetime(2026, 11, 27, 3, 12, tzinfo=UTC)
TRACE = Trace(
    admitted=4, placed=204, asked=206, named_by="alias", alias="claude-*", wanted="qwen", session="elsewhere",
    holder="w1-i2", sent=4200, whole=4000, others={"w1-i2": "full 8/8", "w1-i3": "busier 5", "w1-i4": "login_required"},
    lost=[("w1-i2", "upstream")], corrections=1,
    limits=[("team", "tokens_day", 1234, 5000)], error="The service said <b>no</b>.", more=3,
)  # fmt: skip


@pytest.fixture
def team():
    return Team.objects.create(name="Ads")


@pytest.fixture
def key(team):
    key = ApiKey(name="key of Ads", team=team)
    key.renew_secret(b"pepper")
    key.save()
    return key


@pytest.fixture
def new_row(key, team):
    def new_row(**fields):
        plain = {
            "request_id": ID, "api_key": key, "team": team, "protocol": "anthropic", "endpoint": "/v1/messages",
            "model": "claude-sonnet-4-5", "lingma_model": "qwen", "instance": "w1-i1", "session": "rebuilt",
            "stream": True, "status": "error", "reason": "upstream", "queue_ms": 190, "first_token_ms": 896,
            "total_ms": 2000, "prompt_tokens": 1000, "completion_tokens": 20, "usage_source": "estimate",
            "client": "10.0.0.7", "tools": "1 parsed", "started_at": START, "trace": encoded(TRACE),
        }  # fmt: skip
        return Usage.objects.create(**(plain | fields))

    return new_row


@pytest.fixture
def viewer(client):
    viewer = User.objects.create_user("viewer")
    viewer.user_permissions.add(Permission.objects.get(codename="view_usage"))
    client.force_login(viewer)
    return viewer


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


@pytest.mark.parametrize(
    ("source", "words"),
    [("upstream", ""), ("estimate", "estimated"), ("partial", "estimated until it broke off"), ("", "")],
)
def test_page_says_where_tokens_come_from(client, viewer, new_row, source, words):
    new_row(usage_source=source)
    tokens = "1,000 in, 20 out" if source else "– in, – out"
    assert re.search(rf"Tokens {tokens} {words} ?The alias", text_of(client.get(f"/usage/r/{ID}")))


@pytest.mark.parametrize("prefix", ["req_", "chatcmpl-", "msg_", "resp_", ""])
def test_any_id_leads_to_the_page(client, viewer, new_row, prefix):
    new_row()
    page = client.get(f"/usage/r/{prefix}{DIGITS}")
    assert page.status_code == 200
    assert '<h1 id="verdict">Lingma failed the turn.</h1>' in page.content.decode()


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (
            Trace(session="continued", holder="w1-i1", by="web-2"),
            "came to web-2, which handed it over to the process that",
        ),
        (Trace(session="first", by="north/web-1"), "came to north/web-1, which handed it over to a machine that had"),
    ],
)
def test_page_says_who_handed_over(client, viewer, new_row, trace, words):
    new_row(status="ok", reason="stop", trace=encoded(trace))
    assert words in text_of(client.get(f"/usage/r/{ID}"))


def test_page_tells_the_whole_story(client, viewer, new_row):
    new_row()
    text = text_of(client.get(f"/usage/r/{ID}"))
    for words in (
        "error: upstream", "Read and checked 4 ms", "Waited for a place, and tried in vain 200 ms 204 ms",
        "Waited for the first text 694 ms 900 ms", "Sent text until it ended 1.1 s 2.0 s", "key of Ads", "10.0.0.7",
        "The alias claude-* stands for qwen.", "1,000 in, 20 out estimated",
        "tokens per day: 1,234 / 5,000 of the team", "w1-i2 was full: 8/8", "w1-i3 had more to do: 5",
        "w1-i4 was not logged in",
        "More instances that are not listed: 3", "An attempt on w1-i2 was lost. Lingma failed the turn.",
        "w1-i2, which held the session, could not take the turn",
        "The whole conversation of 4,000 characters was sent, in a text of 4,200.", "1 parsed",
        "asked once more to correct", "The service said &lt;b&gt;no&lt;/b&gt;.",
    ):  # fmt: skip
        assert words in text, words


def test_refusal_shows_its_limit(client, viewer, new_row):
    limit = {"limit_scope": "team", "allowed": 60, "value": 60, "retry_after": 12, "count": 37}
    nothing = {"instance": "", "lingma_model": "", "first_token_ms": None, "total_ms": 1, "trace": ""}
    new_row(status="refused", reason="rpm", **limit, **nothing)
    text = text_of(client.get(f"/usage/r/{ID}"))
    assert "The limit of the team is reached: requests per minute, 60 of 60." in text
    assert "It could be tried again 12 s later." in text
    assert "This row stands for 37 refusals" in text
    assert "requests per minute: 60 / 60 of the team" in text
    assert "– in, – out" in text


def test_links_lead_to_the_rows_around(client, viewer, new_row, key):
    new_row()
    links = re.findall(r'href="(/usage/rows/[^"]+)"', client.get(f"/usage/r/{ID}").content.decode())
    assert [link.split("?")[1].split("&")[0] for link in links] == [f"key={key.pk}", "instance=w1-i1"]
    for link in links:
        page = client.get(link.replace("&amp;", "&"))
        assert page.status_code == 200
        assert f"/usage/r/{ID}" in page.content.decode()


def test_links_to_the_console_only_with_rights(client, admin_client, viewer, new_row, key):
    new_row()
    assert "/admin/accounts" not in client.get(f"/usage/r/{ID}").content.decode()
    page = admin_client.get(f"/usage/r/{ID}").content.decode()
    assert f"/admin/accounts/apikey/{key.pk}/change/" in page
    assert "/admin/bridge/modelalias/?q=claude-%2A" in page


def test_other_team_looks_like_nothing_there(client, new_row):
    new_row()
    member = User.objects.create_user("member")
    client.force_login(member)
    pages = [client.get(f"/usage/r/{ID}"), client.get(f"/usage/r/req_{DIGITS[::-1]}")]
    member.teams.add(Team.objects.create(name="Other"))
    pages += [client.get(f"/usage/r/{ID}"), client.get(f"/usage/r/req_{DIGITS[::-1]}")]
    assert {page.status_code for page in pages} == {404}
    assert len({text_of(page).replace(DIGITS, "").replace(DIGITS[::-1], "") for page in pages}) == 1
    member.teams.add(Team.objects.get(name="Ads"))
    assert client.get(f"/usage/r/{ID}").status_code == 200


@pytest.fixture
def shared(redis_server):
    """A refusal that is in the row of the one with ID; its digits."""
    later = DIGITS[::-1]

    async def note():
        link = RedisLink(redis_server, timeout=30)
        await shared_rows.note(link, {f"req_{later}": ID})
        await link.close()

    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        async_to_sync(note)()
        yield later
        client.flushdb()


def test_later_refusal_leads_to_its_row(client, viewer, new_row, shared):
    assert client.get(f"/usage/r/{shared}").status_code == 404  # the row is not filed yet
    new_row(status="refused", reason="rpm", allowed=60, value=60, count=37, instance="", trace="")
    page = text_of(client.get(f"/usage/r/msg_{shared}"))
    assert "requests per minute, 60 of 60." in page
    assert "This row stands for 37 refusals of this kind within a minute; what follows is of the first. " in page
    assert f"One of them: req_{shared}" in page
    assert "One of them" not in text_of(client.get(f"/usage/r/{ID}"))


@pytest.mark.parametrize("traced", [True, False])
def test_shared_refusals_agree_on_the_limit(client, viewer, new_row, traced):
    first = Trace(limits=[("key", "tokens_day", 737, 600)], error="The limit is reached: 600 tokens per day, 737 used.")
    facts = {"reason": "tokens_day", "limit_scope": "key", "allowed": 600, "value": 1130, "count": 3, "instance": ""}
    new_row(status="refused", trace=encoded(first) if traced else "", **facts)
    page = text_of(client.get(f"/usage/r/{ID}"))
    assert "tokens per day, up to 1,130 of 600." in page
    assert "what follows is of the first" in page
    assert f"tokens per day: {'737' if traced else 'up to 1,130'} / 600" in page
    assert "1,130 of 600" not in page.replace("up to 1,130 of 600", "")


def test_later_refusal_is_found_by_all(admin_client, new_row, shared):
    row = new_row(status="refused", reason="rpm", count=37, instance="", trace="")
    assert admin_client.get(f"/api/usage/{shared}/").json()["request_id"] == ID
    listed = admin_client.get("/admin/accounts/usage/", {"q": f"chatcmpl-{shared}"}).content.decode()
    assert f"/admin/accounts/usage/{row.pk}/change/" in listed


def test_later_refusal_of_others_is_not_there(client, new_row, shared):
    new_row(status="refused", reason="rpm", count=37, instance="", trace="")
    member = User.objects.create_user("member")
    member.teams.add(Team.objects.create(name="Other"))
    client.force_login(member)
    assert client.get(f"/usage/r/{shared}").status_code == client.get(f"/api/usage/{shared}/").status_code == 404


def test_stranger_is_sent_to_log_in(client, new_row):
    new_row()
    assert client.get(f"/usage/r/{ID}").url == f"/login/?next=/usage/r/{ID}"


def test_unknown_id_says_how_long_rows_are_kept(client, viewer, settings):
    page = client.get("/usage/r/nothing-of-that-name")
    assert page.status_code == 404
    assert "Rows are kept for 400 days." in text_of(page)


@pytest.mark.parametrize("id_", ["%00", "a" * 5000, "two%20words", "%3Cscript%3E", "..%2f"])
def test_strange_ids_are_not_found(client, viewer, id_):
    page = client.get(f"/usage/r/{id_}")
    assert page.status_code == 404
    assert b"<script>" not in page.content


def test_running_turn_says_so(client, viewer, team, new_row):
    row = UsageRow(
        request_id=ID, api_key_id=1, team_id=team.pk, protocol="openai", endpoint="/v1", model="qwen", status="open",
        started_at=START.timestamp(), instance="w1-i1",
    )  # fmt: skip
    OpenTurn.objects.create(request_id=ID, run="w1-x", started_at=timezone.now(), row=msgspec.json.encode(row).decode())
    assert "It is still running, since" in text_of(client.get(f"/usage/r/{ID}"))
    client.force_login(User.objects.create_user("member"))
    assert client.get(f"/usage/r/{ID}").status_code == 404


def test_unreadable_running_turn_is_not_found(client, viewer):
    OpenTurn.objects.create(request_id=ID, run="w1-x", started_at=timezone.now(), row='{"of": "another version"}')
    assert client.get(f"/usage/r/{ID}").status_code == 404


@pytest.fixture
def steps(redis_server):
    """Files steps of instances, so many seconds after the request began."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()

        def add(name, *found):
            for seconds, state, why, detail in found:
                step = Transition(START.timestamp() + seconds, state, why, detail)
                client.lpush(f"lgw:timeline:{name}", msgspec.json.encode(step))

        yield add
        client.flushdb()


def changes_on(page):
    return text_of(page).partition("State changes around it")[2]


def test_page_shows_changes_around_it(client, viewer, new_row, steps):
    new_row()
    steps(
        "w1-i1",
        (-4000, InstanceState.STARTING, TransitionReason.STARTED, ""),
        (-3000, InstanceState.READY, TransitionReason.CONNECTED, ""),
        (-120, InstanceState.COOLING, TransitionReason.LIMITED, "for 30 s"),
        (1.5, InstanceState.BACKOFF, TransitionReason.LOST, "pid 7 exited"),
        (63, InstanceState.STARTING, TransitionReason.STARTED, "too late"),
    )  # fmt: skip
    steps(
        "w1-i2",
        (-5000, InstanceState.READY, TransitionReason.CONNECTED, ""),
        (-1, InstanceState.BACKOFF, TransitionReason.FAILED, ""),
    )
    text = changes_on(client.get(f"/usage/r/{ID}"))
    assert (
        "03:10:00 w1-i1 ready → cooling down its service refuses turns for a while "
        "03:11:59 w1-i2 ready → backing off it failed "
        "03:12:01 w1-i1 cooling down → backing off the connection was lost "
    ) in text
    assert text.count("→") == 3
    assert "no longer kept" not in text


def test_orphan_shows_what_ended_it_later(client, viewer, new_row, steps):
    """Nobody knows how long it ran, so its row says 0 ms."""
    new_row(status="error", reason="orphaned", total_ms=0, first_token_ms=None, trace="")
    steps(
        "w1-i1",
        (-4000, InstanceState.READY, TransitionReason.CONNECTED, ""),
        (400, InstanceState.STARTING, TransitionReason.STARTED, ""),
    )
    page = client.get(f"/usage/r/{ID}")
    assert "ready → starting its service is started" in changes_on(page)
    assert "0 ms" not in text_of(page)
    assert row_of(Usage.objects.get()).total == "–"


def test_details_of_changes_are_for_operators(client, admin_client, viewer, new_row, steps):
    new_row(trace="")
    steps(
        "w1-i1",
        (-4000, InstanceState.READY, TransitionReason.CONNECTED, ""),
        (1, InstanceState.FAILED, TransitionReason.FAILED, "a\u202eb"),
    )
    assert "it failed:" not in changes_on(client.get(f"/usage/r/{ID}"))
    assert "it failed: a\\u202eb" in changes_on(admin_client.get(f"/usage/r/{ID}"))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((-4000, InstanceState.READY, TransitionReason.CONNECTED, ""), "Nothing changed around it."),
        ((900, InstanceState.READY, TransitionReason.CONNECTED, ""), "was not recorded, or is no longer kept"),
        (None, "is no longer kept"),
    ],
)
def test_absent_changes_say_why(client, viewer, new_row, steps, found, words):
    new_row(trace="")
    steps("w1-i1", *([found] if found else []))
    assert words in changes_on(client.get(f"/usage/r/{ID}"))


def test_changes_of_a_new_instance_are_whole(client, viewer, new_row, steps):
    new_row(trace="")
    steps(
        "w1-i1",
        (-20, InstanceState.STARTING, TransitionReason.STARTED, ""),
        (-9, InstanceState.READY, TransitionReason.CONNECTED, ""),
    )
    text = changes_on(client.get(f"/usage/r/{ID}"))
    assert "starting → ready it is connected" in text
    assert "no longer kept" not in text


def test_changes_without_redis_say_so(client, viewer, new_row, settings):
    new_row()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert "cannot be read right now" in changes_on(client.get(f"/usage/r/{ID}"))


def test_refusal_without_instances_has_no_changes(client, viewer, new_row):
    new_row(status="refused", reason="rpm", instance="", trace="")
    assert "State changes" not in text_of(client.get(f"/usage/r/{ID}"))


def test_many_changes_are_cut(client, viewer, new_row, steps):
    new_row(trace="")
    states = [InstanceState.READY, InstanceState.BACKOFF]
    steps("w1-i1", *((number - 400, states[number % 2], TransitionReason.FAILED, "") for number in range(200)))
    text = changes_on(client.get(f"/usage/r/{ID}"))
    assert text.count("→") == 40
    assert "More changes that are not listed: 60" in text


def test_search_box_leads_to_the_page(client, viewer, new_row):
    assert 'action="/usage/r/"' in client.get("/usage/").content.decode()
    assert client.get("/usage/r/", {"id": f" chatcmpl-{DIGITS} "}).url == f"/usage/r/{ID}"
    assert client.get("/usage/r/", {"id": ""}).url == "/usage/"
    assert client.get("/usage/r/", {"id": "//evil.example/x"}).url == "/usage/"


@pytest.mark.parametrize("prefix", ["req_", "chatcmpl-", "msg_", "resp_", ""])
def test_console_finds_the_same_ids(admin_client, new_row, prefix):
    row = new_row()
    page = admin_client.get("/admin/accounts/usage/", {"q": f"{prefix}{DIGITS}"}).content.decode()
    assert f"/admin/accounts/usage/{row.pk}/change/" in page
    assert f"/usage/r/{ID}" in admin_client.get(f"/admin/accounts/usage/{row.pk}/change/").content.decode()
    missing = admin_client.get("/admin/accounts/usage/", {"q": f"{prefix}{DIGITS[::-1]}"}).content.decode()
    assert f"/admin/accounts/usage/{row.pk}/change/" not in missing


def test_page_costs_few_queries(client, viewer, new_row, django_assert_num_queries):
    new_row()
    with django_assert_num_queries(5):
        client.get(f"/usage/r/{ID}")


def test_page_has_nothing_inline(client, viewer, new_row):
    new_row()
    page = client.get(f"/usage/r/{ID}")
    assert page["Content-Security-Policy"].startswith("default-src 'self';")
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", page.content.decode())

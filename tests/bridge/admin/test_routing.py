"""Aliases and prompts as operators see and change them."""

import json
import re
import time
from io import StringIO

import msgspec
import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.urls import reverse

from accounts.models import ApiKey, Team
from bridge.models import ModelAlias, PromptTemplate
from bridge.prompt.profile import DEFAULT_PROFILE
from bridge.routing.explain import explain
from bridge.status.instance import InstanceStatus

ADD_KEY = reverse("admin:accounts_apikey_add")
ALIASES = reverse("admin:bridge_modelalias_changelist")
ADD_ALIAS = reverse("admin:bridge_modelalias_add")
TRY = reverse("admin:bridge_modelalias_try")
PROMPTS = reverse("admin:bridge_prompttemplate_changelist")
ADD_PROMPT = reverse("admin:bridge_prompttemplate_add")

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_rows(db):
    ModelAlias.objects.all().delete()


@pytest.fixture
def offered(redis_server):
    """Heartbeats of an instance whose account offers two models."""
    facts = InstanceStatus(
        name="w1-i1", process=1, pid=9, generation=1, state="ready", login=True, in_flight=0, limit=8, restarts=0,
        last_error="", version="", upstream="lingma", models=2, started_at=1.0, at=time.time(),
        model_names={"org_auto": "org_auto", "auto": "org_auto", "coder": "coder", "qwen3-coder": "coder"},
    )  # fmt: skip
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        client.set("lgw:instance:w1-i1", msgspec.json.encode(facts))
        yield
        client.flushdb()


def text(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.content.decode()))


def alias(**fields):
    blank = dict.fromkeys(["lingma_model", "display_name", "note", "ask_mode", "tool_mode", "thinking"], "")
    return blank | {"pattern": "claude-*", "position": 10, "enabled": "on"} | fields


def prompt(**fields):
    plain = {"template": DEFAULT_PROFILE.template, "description_chars": 300, "note": "", "position": 10}
    return plain | {"pattern": "*coder*", "enabled": "on"} | fields


def test_added_alias_is_logged_with_its_author(admin_client, offered):
    page = admin_client.post(ADD_ALIAS, alias(pattern=" gpt-* ", lingma_model="Qwen3-Coder"), follow=True)
    row = ModelAlias.objects.get()
    assert (row.pattern, row.lingma_model) == ("gpt-*", "Qwen3-Coder")
    assert "does not offer" not in text(page)
    assert LogEntry.objects.get().object_repr == "gpt-*"


def test_unoffered_model_is_reported_and_kept(admin_client, offered):
    page = text(admin_client.post(ADD_ALIAS, alias(lingma_model="tomorrow"), follow=True))
    assert "The account does not offer tomorrow now. Until it does, org_auto answers." in page
    assert "not offered now: org_auto answers" in page
    assert ModelAlias.objects.get().lingma_model == "tomorrow"


def test_unoffered_models_of_a_key_are_reported(admin_client, offered):
    ModelAlias.objects.create(pattern="claude-*", lingma_model="coder", position=1)
    fields = {"name": "k", "rpm": 0, "tpm": 0, "concurrency": 0}
    known = "Coder, qwen3*, claude-sonnet-*, claude-opus-5[1m], *"
    page = text(admin_client.post(ADD_KEY, fields | {"allowed_models": f"{known}, tomorrow, gpt-?"}))
    assert "No model or alias has the name tomorrow, gpt-? now; requests for it get org_auto." in page
    page = text(admin_client.post(ADD_KEY, fields | {"name": "k2", "allowed_models": known}))
    assert "No model or alias" not in page
    assert ApiKey.objects.count() == 2


UNKNOWN = "No model or alias has the name tomorrow now; requests for it get org_auto."


def test_unoffered_models_of_a_team_are_reported(admin_client, offered):
    fields = {"name": "core", "time_zone": "", "rpm": 0, "tpm": 0, "concurrency": 0, "allowed_models": "tomorrow"}
    assert UNKNOWN in text(admin_client.post(reverse("admin:accounts_team_add"), fields, follow=True))
    page = reverse("admin:accounts_team_change", args=[Team.objects.get().pk])
    assert UNKNOWN not in text(admin_client.post(page, fields | {"rpm": 5}, follow=True))
    assert Team.objects.get().rpm == 5


@pytest.mark.parametrize("resource", ["keys", "teams"])
def test_api_warns_of_unoffered_models(admin_client, offered, resource):
    def sent(method, address, **body):
        return getattr(admin_client, method)(address, json.dumps(body), "application/json").json()

    told = [{"field": "allowed_models", "detail": UNKNOWN}]
    made = sent("post", f"/api/{resource}/", name="core", allowed_models=["Coder", "tomorrow"])
    assert made["warnings"] == told
    own = f"/api/{resource}/{made['id']}/"
    assert "warnings" not in admin_client.get(own).json()
    assert "warnings" not in sent("patch", own, rpm=5)
    assert sent("patch", own, allowed_models=["tomorrow"])["warnings"] == told
    assert "warnings" not in sent("patch", own, allowed_models=["coder"], warnings=told)


def test_command_warns_of_unoffered_models(offered):
    out, err = StringIO(), StringIO()
    call_command("create_api_key", "alice", "--models=tomorrow", stdout=out, stderr=err)
    assert (out.getvalue().startswith("lgw_"), err.getvalue()) == (True, f"{UNKNOWN}\n")


@pytest.mark.parametrize("name", ["coder-20250929", "coder[1m]"])
def test_form_shows_what_a_dated_name_becomes(admin_client, offered, name):
    explanation = explain(name, "org_auto", {"org_auto": "org_auto", "coder": "coder"})
    assert (explanation.decided_by, explanation.key) == ("model", "coder")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pattern": ""}, "This field is required."),
        ({"pattern": "claude opus"}, "Model names have no blanks in them."),
        ({"pattern": "TAKEN"}, "Another alias has this pattern."),
        ({"ask_mode": "odd"}, "not one of the available choices"),
        ({"position": "-1"}, "greater than or equal to 0"),
    ],
)
def test_alias_without_sense_is_refused_in_words(admin_client, offered, fields, told):
    ModelAlias.objects.create(pattern="taken")
    assert told in text(admin_client.post(ADD_ALIAS, alias(**fields)))
    assert ModelAlias.objects.count() == 1


def test_form_suggests_offered_models_with_new_rows_last(admin_client, offered):
    ModelAlias.objects.create(pattern="x", position=70)
    page = admin_client.get(ADD_ALIAS).content.decode()
    assert re.search(r'<datalist id="lingma_model-offered">.*<option value="coder">qwen3-coder</option>', page)
    assert re.search(r'name="position"[^>]*value="80"|value="80"[^>]*name="position"', page)


def test_the_order_is_changed_in_the_list(admin_client, offered):
    first, second = (ModelAlias.objects.create(pattern=name, position=10) for name in "ab")
    rows = {"form-0-id": first.pk, "form-0-position": 30, "form-1-id": second.pk, "form-1-position": 20}
    counts = {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save", "form-1-enabled": "on"}
    admin_client.post(ALIASES, rows | counts)
    assert [(row.pattern, row.enabled) for row in ModelAlias.objects.all()] == [("b", True), ("a", False)]


def test_the_list_is_searched(admin_client, offered):
    ModelAlias.objects.create(pattern="gpt-*", note="for Codex")
    ModelAlias.objects.create(pattern="claude-*")
    page = text(admin_client.get(ALIASES, {"q": "codex"}))
    assert "gpt-*" in page
    assert "claude-*" not in page


def test_the_list_costs_no_query_per_alias(admin_client, offered, django_assert_num_queries):
    for number in range(20):
        ModelAlias.objects.create(pattern=f"name-{number}")
    admin_client.get(ALIASES)
    with django_assert_num_queries(5):
        admin_client.get(ALIASES)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("claude-opus-9", ["the alias claude-*", "coder", "agent mode", "bridge", "shown unless the request"]),
        ("Qwen3-Coder", ["it offers a model of this name", "coder", "chat mode (DEFAULT_ASK_MODE)", "(TOOL_MODE)"]),
        ("lost-1", ["the alias lost-*", "does not offer gone now", "org_auto"]),
        ("lingma-agent", ["stands for agent mode", "org_auto"]),
        ("llama", ["no alias fits", "org_auto", "shown only if", "as shipped"]),
    ],
)
def test_a_name_is_tried(admin_client, offered, name, told):
    ModelAlias.objects.create(
        pattern="claude-*", lingma_model="coder", ask_mode="agent", tool_mode="bridge", thinking="on"
    )
    ModelAlias.objects.create(pattern="lost-*", lingma_model="gone")
    page = text(admin_client.get(TRY, {"name": name}))
    assert [part for part in told if part not in page] == []


def test_a_trial_names_the_prompt_of_the_model(admin_client, offered):
    PromptTemplate.objects.create(pattern="c*r")
    assert "c*r" in text(admin_client.get(TRY, {"name": "coder"}))


def test_trial_without_redis_does_not_know_the_models(admin_client, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    ModelAlias.objects.create(pattern="claude-*", lingma_model="coder")
    page = text(admin_client.get(TRY, {"name": "claude-x"}))
    assert "No instance tells now which models it offers." in page
    assert admin_client.get(ALIASES).status_code == 200


def test_name_is_shown_as_text(admin_client, offered):
    assert b"<script>alert" not in admin_client.get(TRY, {"name": '"><script>alert(1)</script>'}).content


@pytest.mark.parametrize("page", [ALIASES, ADD_ALIAS, TRY, PROMPTS, ADD_PROMPT])
def test_staff_need_the_permission(client, page):
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(page).status_code == 403


def test_staff_who_may_look_change_nothing(client, offered):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_modelalias"))
    client.force_login(user)
    row = ModelAlias.objects.create(pattern="kept")
    assert [client.get(page).status_code for page in (ALIASES, TRY)] == [200, 200]
    assert client.post(reverse("admin:bridge_modelalias_change", args=[row.pk]), alias()).status_code == 403


def test_prompt_starts_from_shipped_text_with_preview(admin_client):
    page = admin_client.get(ADD_PROMPT).content.decode()
    assert DEFAULT_PROFILE.template.splitlines()[1][:60] in page
    assert "&lt;call:k3v9x2m7qd&gt;" in page


def fields_of(page):
    """What the form of a list would send."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", page.content.decode()):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        name = attributes.get("name", "")
        if re.match("(initial-)?form-", name) and ("checkbox" not in tag or " checked" in tag):
            found[name] = attributes.get("value", "on")
    return found


def test_list_changes_what_was_edited_alone(admin_client):
    first, second = (ModelAlias.objects.create(pattern=name, position=n) for n, name in enumerate("ab", 1))
    sent = fields_of(admin_client.get(ALIASES))
    assert sent["form-0-position"] == "1"
    ModelAlias.objects.filter(pk=first.pk).update(enabled=False, position=5)  # somebody else, meanwhile
    ModelAlias.objects.filter(pk=second.pk).update(enabled=False)
    admin_client.post(ALIASES, sent | {"form-1-position": "7", "_save": "Save"})
    rows = ModelAlias.objects.order_by("pk").values_list("pattern", "enabled", "position")
    assert list(rows) == [("a", False, 5), ("b", False, 7)]
    sent = {name: value for name, value in fields_of(admin_client.get(ALIASES)).items() if name != "form-1-enabled"}
    admin_client.post(ALIASES, sent | {"form-0-enabled": "on", "_save": "Save"})
    assert list(rows.all()) == [("a", True, 5), ("b", False, 7)]


def test_saved_prompt_shows_its_own_text(admin_client):
    template = "Mine: $tools\r\n$open$close"
    admin_client.post(ADD_PROMPT, prompt(template=template))
    row = PromptTemplate.objects.get()
    assert row.template == "Mine: $tools\n$open$close"
    page = admin_client.get(reverse("admin:bridge_prompttemplate_change", args=[row.pk])).content.decode()
    assert "Mine: " in page.partition("As last saved")[2]
    assert "read_file" in page.partition("As last saved")[2]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"template": "nothing"}, "$tools is missing"),
        ({"template": "$tools $open $close $ odd"}, "write $$ for the sign itself"),
        ({"template": "$tools $open $close $what"}, "$what is not a placeholder."),
        ({"pattern": "*TAKEN"}, "Another prompt has this pattern."),
        ({"description_chars": "x"}, "Enter a whole number."),
    ],
)
def test_a_prompt_that_would_not_work_is_refused(admin_client, fields, told):
    PromptTemplate.objects.create(pattern="*taken")
    assert told in text(admin_client.post(ADD_PROMPT, prompt(**fields)))
    assert PromptTemplate.objects.count() == 1


def test_empty_prompt_list_names_what_is_used(admin_client):
    assert "The shipped prompt is used for every model" in text(admin_client.get(PROMPTS))

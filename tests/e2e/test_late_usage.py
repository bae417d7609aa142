"""The service logs what a turn has cost after it has ended: its row, all sums and its limits follow."""

import json
from contextlib import ExitStack, closing

import pytest

from accounts.ledger.row import AMENDMENT
from tests.e2e.formats import OPENAI, Stream, send
from tests.e2e.installation import KEY, Gateway, django, until
from tests.e2e.test_three_processes import Held, connected, instance, ready

LATE = '[[sim: text="a few words" usage="77,5" usage_line=after usage_late_ms=1500]] x'
ELSEWHERE = (
    '[[sim: text="one two" chunks=2 first_ms=1 delay_ms=1500 usage="77,5" usage_line=after usage_late_ms=900]] x'
)
BUDGET = """
import json
from django.conf import settings
from accounts.models import ApiKey, Team
team = Team.objects.create(name="with a budget", tokens_month=1_000_000)
made = ApiKey(name="budget", team=team, tokens_day=100_000, tpm=100_000)
made.adopt("lgw_test-key-budget", settings.KEY_PEPPER)
made.save()
"""
FLUSH = """
import json
from datetime import UTC, datetime
from django.conf import settings
from django.db.models import Sum
from accounts.ledger.reconcile import reconcile
from accounts.ledger.services import flush
from accounts.models import Usage, UsageHour, WaitingAmendment
flush(settings.ENV.redis_or_embedded_url, settings.DATA_DIR / "spool")
columns = "prompt_tokens", "completion_tokens", "usage_source"
print(json.dumps({
    "rows": {id_: list(rest) for id_, *rest in Usage.objects.values_list("request_id", *columns)},
    "hours": {each["usage_source"]: [each["turns"], each["prompt"], each["completion"]] for each in
              UsageHour.objects.values("usage_source").annotate(
                  turns=Sum("turns"), prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens"))},
    "adds_up": reconcile(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)).adds_up,
    "waiting": WaitingAmendment.objects.count(),
}))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory, template):
    """One whose rows are filed by these tests alone."""
    with Gateway(tmp_path_factory.mktemp("late"), template) as running:
        yield running


def amendments(gateway):
    """Late counts in the stream, by request id."""
    with gateway.redis() as client:
        lines = [fields[b"row"] for _, fields in client.xrange("lgw:usage")]
    found = [json.loads(line) for line in lines if line.startswith(AMENDMENT)]
    assert len({each["amends"] for each in found}) == len(found)
    return {each["amends"]: (each["prompt_tokens"], each["completion_tokens"]) for each in found}


def used(gateway, key):
    limits = json.loads(send(gateway, "GET", "/v1/usage", key=key).body)["limits"]
    return {(each["scope"], each["name"]): each["used"] for each in limits}


def test_row_sums_and_limits_take_late_counts(own):
    django(own.data_dir, BUDGET)
    earlier = filed(own)
    answer = own.ask(OPENAI, LATE, key="lgw_test-key-budget")
    id_ = answer.headers["x-request-id"]
    before = own.row(id_)
    assert before["usage_source"] == "estimate"
    until(lambda: amendments(own).get(id_) == (77, 5))
    now = filed(own)
    assert (now["rows"][id_], more(now, earlier)) == ([77, 5, "upstream"], [1, 77, 5])
    assert (now["adds_up"], now["waiting"]) == (True, 0)
    until(lambda: set(used(own, "lgw_test-key-budget").values()) == {82})
    # Once more: it is amended already.
    assert filed(own) == now


def test_late_counts_amend_a_row_that_is_filed(own):
    earlier = filed(own)
    ids = {own.ask(OPENAI, LATE).headers["x-request-id"] for _ in range(3)}
    assert filed(own)["rows"].keys() - earlier["rows"].keys() == ids
    until(lambda: ids <= seen_amended(own))
    last = filed(own)
    assert (more(last, earlier), last["adds_up"], last["waiting"]) == ([3, 231, 15], True, 0)


def filed(gateway):
    """What is in the database, once all that waits has been filed."""
    return json.loads(django(gateway.data_dir, FLUSH))


def more(now, earlier):
    """The turns that the service has counted since: how many, and their tokens."""
    before = earlier["hours"].get("upstream", [0, 0, 0])
    return [after - count for after, count in zip(now["hours"]["upstream"], before, strict=True)]


def seen_amended(gateway):
    return {id_ for id_, (_, _, source) in filed(gateway)["rows"].items() if source == "upstream"}


def test_turn_that_was_left_takes_late_counts(own):
    prompt = '[[sim: text="one two three" chunks=3 first_ms=1 delay_ms=60000 usage="99,9"]] x'
    with Stream(own, OPENAI, prompt, key=KEY) as stream:
        stream.until(b"one")
        id_ = stream.request_id
    until(lambda: amendments(own).get(id_) == (99, 9))
    assert filed(own)["rows"][id_] == [99, 9, "upstream"]


def test_turn_elsewhere_takes_late_counts(tmp_path_factory, template):
    directory = tmp_path_factory.mktemp("late-two")
    with Gateway(directory, template, processes=2, MAX_IN_FLIGHT="1") as two, ExitStack() as stack:
        until(lambda: seen_by_first(two) == {"w1-i1", "w2-i1"})
        streams = [stack.enter_context(Held(each, ELSEWHERE)) for each in connected(two, 1, 2)]
        assert {instance(each) for each in streams} == {"w1-i1", "w2-i1"}
        ids = {each.rest().headers["x-request-id"] for each in streams}
        until(lambda: amendments(two) == dict.fromkeys(ids, (77, 5)))


def seen_by_first(gateway):
    (connection,) = connected(gateway, 1)
    with closing(connection):
        return ready(connection)

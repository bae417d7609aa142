import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Max, Min

from accounts.demo.cast import keys_of
from accounts.demo.turns import turns
from accounts.ledger.reconcile import reconcile
from accounts.models import ApiKey, Team, Usage
from accounts.reports.filters import parse
from accounts.reports.summary import summarize, total
from accounts.reports.visibility import Visibility

END = datetime(2026, 11, 28, 21, tzinfo=UTC)
ROWS = 6_000
"""Of more than one transaction."""


@pytest.fixture(scope="module")
def expected(shared_rows, tmp_path_factory):
    """What the command says of the rows that it has made."""
    file = tmp_path_factory.mktemp("seed") / "expected.json"
    call_command("seed_demo", rows=ROWS, seed=5, expected=file)
    return json.loads(file.read_text())


def test_same_seed_makes_the_same_turns():
    made = [list(turns(5, 300, keys_of(5, 300), END)) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] != list(turns(6, 300, keys_of(6, 300), END))
    assert [turn["started_at"] for turn in made[0]] == sorted(turn["started_at"] for turn in made[0])


@pytest.mark.django_db
def test_file_that_cannot_be_written_keeps_rows_out(tmp_path):
    """The same seed is refused afterwards, so its sums would be lost."""
    with pytest.raises(CommandError, match="Nothing was written: the file for the sums cannot be"):
        call_command("seed_demo", rows=5, seed=6, expected=tmp_path / "none" / "expected.json")
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_sums_in_file_are_those_stored(expected):
    everybody, filters = Visibility(everything=True), parse({}, END, UTC)
    assert (expected["rows"], Usage.objects.count()) == (ROWS, ROWS)
    whole = total(filters, everybody).as_row()
    assert {name: whole[name] for name in expected["total"]} == expected["total"]
    for name in ("team", "lingma_model", "model", "client_app", "status", "reason", "session", "day"):
        found = {group[0]: sums.as_row() for group, sums in summarize(filters, everybody, [name]).items()}
        if name == "team":
            names = dict(Team.objects.values_list("pk", "name"))
            found = {names.get(pk, ""): sums for pk, sums in found.items()}
        told = {str(value): {each: sums[each] for each in expected["total"]} for value, sums in found.items()}
        assert told == expected["by"][name]


@pytest.mark.django_db
def test_hours_are_those_of_the_rows(expected):
    times = Usage.objects.order_by("started_at").values_list("started_at", flat=True)
    found = reconcile(times.first(), times.last())
    assert (found.wrong_hours, found.wrong_days) == (set(), set())


@pytest.mark.django_db
def test_keys_were_used_when_their_turns_say(expected):
    found = {key.name: (key.first_used_at, key.last_used_at) for key in ApiKey.objects.all()}
    turns_of = Usage.objects.values("api_key__name").annotate(first=Min("started_at"), last=Max("started_at"))
    times = {turn["api_key__name"]: (turn["first"], turn["last"]) for turn in turns_of}
    assert found == dict.fromkeys(found, (None, None)) | times
    assert len({last for _, last in times.values()}) == len(times)


@pytest.mark.django_db
def test_database_in_use_is_left_alone(expected, settings):
    keys = ApiKey.objects.count()
    # What the simulator answered is no usage to keep apart. This seed has other upper bits than 5.
    call_command("seed_demo", rows=10, seed=65_541)
    assert Usage.objects.count() == ROWS + 10
    Usage.objects.order_by("-started_at").filter(api_key__name__contains=" 65541-").delete()
    ApiKey.objects.filter(name__contains=" 65541-").delete()
    settings.ENV = settings.ENV.model_copy(update={"lingma_attach_urls": ("ws://127.0.0.1:9",)})
    with pytest.raises(CommandError, match="--force"):
        call_command("seed_demo", rows=10, seed=6)
    with pytest.raises(CommandError, match="seed 5"):
        call_command("seed_demo", rows=10, seed=5, force=True)
    assert (Usage.objects.count(), ApiKey.objects.count()) == (ROWS, keys)
    call_command("seed_demo", rows=10, seed=6, force=True)
    assert Usage.objects.count() == ROWS + 10


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"seed": -1}, {"seed": 10**20}])
@pytest.mark.django_db
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(CommandError):
        call_command("seed_demo", **wrong)

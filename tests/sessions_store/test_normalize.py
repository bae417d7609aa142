"""What agents change in texts."""

import pytest

from sessions_store import normalize


def spoken(text):
    return normalize.strip_reminders(text)[0].strip()


def lasting(text):
    return normalize.stable_system_text(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "fix it",
        "<system-reminder>Be nice.</system-reminder>fix it",
        "<system-reminder>\nBe\nnice.\n</system-reminder>\n\nfix it\n",
        "fix it\n\n<system-reminder>one</system-reminder>\n<system-reminder>two</system-reminder>\n",
        "\r\nfix it",
    ],
)
def test_reminders_are_stripped_with_white_space(text):
    assert spoken(text) == "fix it"


def test_a_reminder_between_two_parts_leaves_one_border():
    assert spoken("one\n<system-reminder>r</system-reminder>\ntwo") == spoken("one\ntwo")


@pytest.mark.parametrize(
    "text", ["<system-reminder>open", "closed</system-reminder>", "</system-reminder><system-reminder>"]
)
def test_half_a_reminder_is_spoken(text):
    assert spoken(text) == text


def test_many_openings_without_an_end_cost_no_time():
    assert spoken("<system-reminder>" * 200_000 + "</system-reminder>fix it") == "fix it"
    assert len(spoken("<system-reminder>" * 200_000)) == 3_400_000


@pytest.mark.parametrize("date", ["2026-11-22", "Nov 22, 2026", "at 13:49"])
def test_dates_that_people_speak_of_stay(date):
    assert spoken(date) == date


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-11-22", "2027-01-03"),
        ("2026/11/22", "2026/12/1"),
        ("11/22/2026", "1/3/2027"),
        ("22.11.2026", "3.12.2026"),
        ("Nov 22, 2026", "December 1, 2026"),
        ("November 22nd, 2026", "Dec. 1st, 2026"),
        ("Sunday, November 22, 2026", "Monday, November 23, 2026"),
        ("Sun Nov 22 2026", "Mon Dec 01 2026"),
        ("Sun, 22 Nov 2026 13:49:58 GMT", "Mon, 3 Dec 2027 01:02:03 GMT"),
        ("Sun Nov 22 13:49:58 UTC 2026", "Mon Nov 23 01:00:00 UTC 2026"),
        ("November 2026", "December 2026"),
        ("2026年11月22日星期日", "2026年12月1日星期二"),
        ("13:49", "1:05"),
        ("1:49 PM", "11:05 am"),
        ("2026-11-22T13:49:58.123Z", "2026-11-23T00:00:00.000Z"),
        ("2026-11-22 13:49:58+02:00", "2026-11-23 00:00:00+01:00"),
    ],
)
def test_dates_and_times_are_stripped_from_system_texts(one, other):
    assert lasting(f"Today is {one}. Be brief.") == lasting(f"Today is {other}. Be brief.")
    assert normalize.stable_system_text(f"Be brief.\n Today is {one}.")[1] == (f"Today is {one}.",)
    for line in ("Born {}", "The appointment: {}", "Today we pay what was due {}"):
        assert lasting(line.format(one)) != lasting(line.format(other))


@pytest.mark.parametrize(
    "line",
    [
        "Today's date: {}", "  Today’s date is {}", "Today: {}", "# currentDate\nToday's date is {}.",
        "Current date: {}", "The current date and time is {}", "<current_date>{}</current_date>", "It is now {}",
        "Heute ist der {}", "Aktuelles Datum: {}", "Aujourd'hui : {}", "Fecha actual: {}", "Hoy es {}",
        "Data atual: {}", "Hoje é {}", "Oggi è {}", "Сегодня {}", "Текущая дата: {}", "今天是{}", "当前日期：{}",
        "現在の日時: {}", "오늘은 {}",
    ],
)  # fmt: skip
def test_present_date_is_stripped_in_many_languages(line):
    one, other = (f"Be brief.\n{line.format(date)}\nBe kind." for date in ("2026-11-22", "2026-11-23"))
    assert lasting(one) == lasting(other)
    assert normalize.stable_system_text(one)[1] == (line.format("2026-11-22").splitlines()[-1].strip(),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SSN 123-45-6789", "SSN 127-99-1111"), ("room 12.10.2024", "room 31.12.1999"), ("John 3:16", "John 1:11"),
        ("Ports 10:30:00", "Ports 23:59:59"), ("account 1234-56-78", "account 9876-12-34"),
        ("May 5 patients died", "May 9 patients died"), ("dose 10:30", "dose 12:59"), ("Monday", "Tuesday"),
        ("if a:\n  b()\nc()", "if a:\n  b()\n  c()"), ("Born 1980-02-03", "Born 2001-11-30"),
    ],
)  # fmt: skip
def test_text_that_resembles_dates_or_space_lasts(one, other):
    assert lasting(f"Today is 2026-11-22.\n{one}") != lasting(f"Today is 2026-11-22.\n{other}")


def test_long_lines_are_kept():
    assert lasting("Today is 2026-11-22. " + "x" * 400) != lasting("Today is 2026-11-23. " + "x" * 400)


@pytest.mark.parametrize(
    ("one", "other"),
    [("May I?", "June I?"), ("Version 1.2.3", "Version 1.2.4"), ("10 files", "11 files"), ("/home/ann", "/home/bob")],
)
def test_text_without_a_date_lasts(one, other):
    assert lasting(one) != lasting(other)


def test_billing_headers_do_not_last():
    header = "x-anthropic-billing-header: cc_version=2.1; cch=0a1b2;"
    assert lasting(f"{header}\nBe brief.") == lasting("Be brief.")


def test_reminders_do_not_last():
    assert lasting("Be brief.\n<system-reminder>3 files</system-reminder>").strip() == lasting("Be brief.")


@pytest.mark.parametrize(
    "piece", ["1", "12:", "1-1-", "Mon ", "May 1 ", "1:11 UTC (", "Nov", "星期", " ", "<system-reminder>"]
)
def test_endless_openings_come_to_an_end(piece):
    text = piece * (90_000 // len(piece))
    lines = "\n".join(text[at : at + 300] for at in range(0, len(text), 300))
    for each in (text, lines):
        assert lasting(f"Today is 2026-11-22\n{each}") == lasting(f"Today is 2026-11-23\n{each}")


def test_end_of_endless_text_is_kept():
    assert lasting("2026-11-22" + "x" * 100_000 + "2026-11-22").endswith("x2026-11-22")

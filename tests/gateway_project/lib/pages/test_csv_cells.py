import csv
import io

import pytest

from gateway_project.lib.pages.csv_cells import FORMULA, defused

SIGNS = [sign for sign in FORMULA if not sign.isspace()]


@pytest.mark.parametrize("first", FORMULA)
def test_cells_are_never_formulas(first):
    assert defused(f"{first}1+1").startswith(f"'{first}")


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("text", ["gpt;{}1", 'gpt;"{}1"', "gpt; {}1", "gpt;;{}1", "gpt\n{}1", "gpt\t{}1,2", "gpt|{}1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_other_separators_make_no_formula(text, sign, delimiter):
    written = io.StringIO()
    csv.writer(written).writerow(["1", defused(text.format(sign)), "2"])
    for reading in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        lines = written.getvalue().splitlines()
        cells = [cell for row in csv.reader(lines, delimiter=delimiter, quoting=reading) for cell in row]
        assert not [cell for cell in cells if cell.strip(' "').startswith(tuple(SIGNS))]


@pytest.mark.parametrize("value", ["a=1", "", 5, -5, None, "gpt-5", "Mozilla/5.0 (X11; Linux) a; b", "a - b; c=d"])
def test_other_cells_stay(value):
    assert defused(value) == value


def test_booleans_are_written_as_in_json():
    assert [defused(value) for value in (True, False, 1, 0)] == ["true", "false", 1, 0]

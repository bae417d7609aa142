import pytest

from gateway_project.lib.csv_cells import defused


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_is_a_formula(first):
    assert defused(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("value", ["a=1", "", 5, -5, None, "gpt-5"])
def test_other_cells_stay(value):
    assert defused(value) == value

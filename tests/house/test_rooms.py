"""The rooms of the house depend on each other in one direction only."""

from tests.house.rooms import arrows, circles, modules


def test_rooms_form_no_circle():
    assert circles() == set()


def test_arrows_name_rooms_that_exist():
    rooms = {".".join(module.split(".")[:2]) for module in modules()}
    assert {target for targets in arrows().values() for target in targets} <= rooms

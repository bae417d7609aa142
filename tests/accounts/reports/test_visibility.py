import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from accounts.models import Team
from accounts.reports.visibility import visible_to

pytestmark = pytest.mark.django_db


def test_permission_shows_the_usage_of_all():
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_usage"))
    assert visible_to(User.objects.get(pk=viewer.pk)).everything
    assert visible_to(User.objects.create_superuser("root")).everything


def test_members_see_their_teams():
    member = User.objects.create_user("member")
    teams = [Team.objects.create(name=name) for name in ("a", "b", "c")]
    member.teams.set(teams[:2])
    visible = visible_to(member)
    assert (visible.everything, visible.teams) == (False, {teams[0].pk, teams[1].pk})


@pytest.mark.parametrize("active", [True, False])
def test_everybody_else_sees_nothing(active):
    user = User.objects.create_user("somebody", is_active=active)
    if not active:
        user.teams.add(Team.objects.create(name="a"))
    assert visible_to(user).nothing
    assert visible_to(AnonymousUser()).nothing

"""One user for each role, and two teams with keys."""

from django.contrib.auth.models import Group, Permission, User

from accounts.models import ApiKey, Team
from accounts.roles.groups import OPERATOR, TEAM_LEAD, VIEWER


def make_key(name, **fields):
    key = ApiKey(name=name, **fields)
    key.renew_secret(b"pepper")
    key.save()
    return key


def user_of(name, *groups, teams=(), permissions=(), **fields):
    user = User.objects.create_user(name, **{"is_staff": True} | fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    for team in teams:
        team.members.add(user)
    return User.objects.get(pk=user.pk)


class People:
    """Teams a and b with a key each, a key without a team, and somebody of each role."""

    def __init__(self):
        self.a, self.b = (Team.objects.create(name=f"team-{name}", rpm=100) for name in "ab")
        self.key_a, self.key_b = (make_key(f"key-{team.name}", team=team) for team in (self.a, self.b))
        self.key_of_nobody = make_key("key-alone")
        self.users = {
            "superuser": User.objects.create_superuser("superuser"),
            "operator": user_of("operator", OPERATOR),
            "viewer": user_of("viewer", VIEWER),
            "lead": user_of("lead", TEAM_LEAD, teams=[self.a]),
            "member": user_of("member", teams=[self.a], is_staff=False),
            "staff": user_of("staff"),
        }

    def client(self, client, role):
        client.logout()
        if role != "anonymous":
            client.force_login(self.users[role])
        return client

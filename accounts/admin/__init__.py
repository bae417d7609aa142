"""The pages of the admin console on teams, keys and usage."""

from accounts.admin import keys as keys
from accounts.admin import teams as teams
from accounts.admin import usage as usage

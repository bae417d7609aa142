"""The pages of the admin console on teams, keys, usage and changes."""

from accounts.admin import alert_list as alert_list
from accounts.admin import audit as audit
from accounts.admin import channels as channels
from accounts.admin import keys as keys
from accounts.admin import teams as teams
from accounts.admin import tokens as tokens
from accounts.admin import usage as usage

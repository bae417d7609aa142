"""The pages of the admin console on instances and routing."""

from bridge.admin import instances as instances
from bridge.admin import login_refresh as login_refresh
from bridge.admin import logins as logins
from bridge.admin import maintenance as maintenance
from bridge.admin import routing as routing
from bridge.admin import sign_in_page as sign_in_page
from bridge.admin import versions as versions

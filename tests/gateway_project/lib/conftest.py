"""Redis, as the tests of the apps have it."""

from tests.accounts.conftest import link as link
from tests.accounts.conftest import own_redis as own_redis

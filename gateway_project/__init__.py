"""What ties the rooms together: environment, settings, routes, servers, processes."""

import os

# Every process of ours imports this package before it writes anything: what it writes is for its own user only.
os.umask(0o077)

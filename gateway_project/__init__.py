"""What ties the rooms together: environment, settings, routes, servers, processes."""

import gc
import os

# Every process of ours imports this package before it writes anything: what it writes is for its own user only.
os.umask(0o077)

# A start makes a quarter of a million objects that stay: looking through them 300 times was a tenth of its time.
gc.set_threshold(50_000, 50, 100)

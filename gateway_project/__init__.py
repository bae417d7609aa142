"""What ties the rooms together: environment, settings, routes, processes."""

import os

# Every process of ours imports this package before it writes anything: what it writes is for its own user only.
os.umask(0o077)

from gateway_project.celery import app as celery_app

__all__ = ["celery_app"]

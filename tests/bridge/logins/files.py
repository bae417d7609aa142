"""Logins as the simulator writes them."""

import json
import time

DAY = 86_400


def user_file(name="alice", machine="machine-1", days=60.0):
    """`cache/user` of somebody, bound to the id."""
    login = {
        "machine": machine, "name": name, "uid": f"uid-{name}", "token": f"pt-secret-{name}",
        "refresh_token": f"rt-secret-{name}", "expire_time": int((time.time() + days * DAY) * 1000),
    }  # fmt: skip
    return json.dumps(login).encode()


def write_login(folder, name="alice", machine="machine-1", days=60.0):
    """A folder with `user` and `id`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user").write_bytes(user_file(name, machine, days))
    (folder / "id").write_text(machine)
    return folder

"""A program in the place of the service: tells how it was started, then does what its name says."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LOOP = "import time\nwhile True: time.sleep(60)"


def main():
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[2:])
    work_dir = Path(options["workDir"])
    listener = socket.create_server(("127.0.0.1", int(options["socketPort"]))) if "listen" in options else None
    passed = [listener.fileno()] if listener else []
    child = subprocess.Popen([sys.executable, "-c", LOOP], pass_fds=passed).pid if "child" in options else 0
    if listener and child:
        listener.close()
    if "deaf" in options:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    facts = {
        "argv": sys.argv[1:],
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "child": child,
    }
    draft = work_dir / "facts.tmp"
    draft.write_text(json.dumps(facts))
    draft.rename(work_dir / "facts.json")
    if "exit" in options:
        sys.exit(int(options["exit"]))
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()

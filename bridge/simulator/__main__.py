"""`python -m bridge.simulator …`"""

import sys

from bridge.simulator.cli import main

sys.exit(main(sys.argv[1:]))

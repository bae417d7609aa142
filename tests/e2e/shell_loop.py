"""The process of a shell: runs each line of its input, code in JSON, and answers with what it printed and raised."""

import contextlib
import io
import json
import sys
import traceback


def main(begin):
    names = {"after": lambda: None}
    exec(begin, names)
    answers = sys.stdout
    for line in sys.stdin:
        printed, failure = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                exec(json.loads(line), {})
            except BaseException:
                failure = traceback.format_exc()
        names["after"]()
        print(json.dumps([printed.getvalue(), failure]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

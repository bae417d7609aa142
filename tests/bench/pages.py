"""What pages cost over a million usage rows, on SQLite and on PostgreSQL where the machine has one."""

import json
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import report
from tests.bench.page_calls import ADDITIONS, CALLS, USUAL
from tests.bench.targets import ROOT, Ours
from tests.directories import copy
from tests.trials.postgres import Postgres, binaries

NAME = "pages"
DATABASES = ("SQLite", "PostgreSQL")
ROWS = 1_000_000
FEW = 20_000  # with --quick
MOST_MS = 300
HEAD = ["page", "database", "CPU ms", "of which the database", "wall ms", "queries", "CPU ms on a usual machine",
        f"≤ {MOST_MS}"]  # fmt: skip


class OnPostgres(Ours):
    """Ours with another database."""

    name = "on-postgres"

    def filed(self):
        import psycopg

        with psycopg.connect(self.settings["DATABASE_URL"]) as database:
            return database.execute("SELECT COALESCE(MAX(id), 0) FROM accounts_usage").fetchone()[0]

    def swept(self):
        """What PostgreSQL itself does some minutes after many rows have come."""
        import psycopg

        with psycopg.connect(self.settings["DATABASE_URL"], autocommit=True) as database:
            database.execute("VACUUM ANALYZE")


def measured(stack, rows=ROWS, databases=DATABASES, note=lambda _words: None, times=CALLS, begin=None):
    """{database: what `page_calls` prints}, one after the other; `begin` is a directory of a database with tables."""
    found = {}
    for database in databases:
        if database == "PostgreSQL" and binaries() is None:
            note("there is no PostgreSQL on this machine: not measured")
            continue
        with ExitStack() as parts:
            target = started(database, parts, stack, begin)
            began = time.monotonic()
            target.seed("rows", 7, rows)
            note(f"{rows:,} rows made in {time.monotonic() - began:.0f} s on {database}")
            if database == "PostgreSQL":
                target.swept()
            found[database] = called(target, times)
    return found


def started(database, parts, stack, begin):
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lgw-pages-")))
    if database == "PostgreSQL":
        target = OnPostgres(directory, DATABASE_URL=parts.enter_context(Postgres(begin)).url)
    else:
        target = Ours(directory)
        if begin:
            copy(begin, target.data)
    parts.callback(target.stop)
    target.start()
    return target


def called(target, times):
    environment = target.command()[1] | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    argv = [sys.executable, str(ROOT / "tests/bench/page_calls.py"), str(times)]
    done = subprocess.run(argv, cwd=target.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the pages of {target.name} were not measured:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def page(found, rows=ROWS):
    """The table, and how it came about."""
    factors = {database: run["additions"] / USUAL for database, run in found.items()}
    lines = [line(title, database, figures, factors[database])
             for title in next(iter(found.values()))["pages"]
             for database, figures in ((each, run["pages"][title]) for each, run in found.items())]  # fmt: skip
    slow = " and ".join(f"{run['additions']:.1f} s ({database})" for database, run in found.items())
    told = (
        f"{rows:,} usage rows of 60 days. Medians of {CALLS} calls after a warm one; CPU is that of the process that "
        f"answers, and of PostgreSQL for it. {ADDITIONS // 10**6} million additions in Python took {slow} meanwhile, "
        f"and take {USUAL} s on a usual machine. Machine: {report.machine()}."
    )
    exports = textwrap.fill(" ".join(exported(database, run["export"]) for database, run in found.items()), 120)
    return f"{report.table(HEAD, lines)}\n\n{textwrap.fill(told, 120)}\n\n{exports}"


def exported(database, whole):
    """A sentence on the whole export, which is read to its end once."""
    size, growth = (number / (1 << 20) for number in (whole["bytes"], whole["growth"]))
    return (
        f"The whole of /usage/export.csv on {database}: {whole['lines']:,} lines, {size:,.1f} MiB in "
        f"{whole['wall']:,.0f} s; the resident memory of the process that answers rose by {growth:,.1f} MiB at most."
    )


def line(title, database, figures, factor):
    cpu = figures["web"] + figures["database"]
    share = f"{figures['database']:,.0f}" if database == "PostgreSQL" else "–"
    return [title, database, f"{cpu:,.0f}", share, f"{figures['wall']:,.0f}", figures["queries"],
            f"{cpu / factor:,.0f}", "met" if cpu / factor <= MOST_MS else "missed"]  # fmt: skip

"""Whether this process only loads code that forks of it will run: it starts no thread then, and opens nothing."""

active = False
"""Set by the fork server before it loads anything, unset in each of its forks."""

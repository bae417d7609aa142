"""The database as a process meets it: its state, deadlines, threads of queries."""

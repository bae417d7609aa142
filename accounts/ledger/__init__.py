"""One row per turn, that is not lost on its way to the database."""

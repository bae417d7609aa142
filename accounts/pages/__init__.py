"""Pages outside of the console, for everybody who may log in. They need no scripts."""

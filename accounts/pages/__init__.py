"""Pages outside of the console, for everybody who may log in. One needs scripts: the playground."""

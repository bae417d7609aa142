"""The executable out of a VSIX."""

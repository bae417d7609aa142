"""All options of the simulator: flags, variables, files, and markers in a prompt."""

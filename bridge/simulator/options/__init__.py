"""Everything that can be told to the simulator: flags, variables, files, and markers in a prompt."""

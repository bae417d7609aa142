"""A stand-in for the Lingma executable. It shares no code with bridge.lingma."""

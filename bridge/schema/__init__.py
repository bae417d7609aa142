"""JSON schemas: how they are read, and whether a value is what one asks for. Pure."""

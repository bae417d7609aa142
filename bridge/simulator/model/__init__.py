"""What the model does in a turn: think, call tools, write, and end."""

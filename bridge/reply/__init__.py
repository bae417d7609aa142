"""What Lingma sends to what a client may read: reasoning apart from text, calls and JSON. Pure."""

"""One turn: find its session, lease a place, ask, read the reply, end exactly once."""

"""What the service knows: who is logged in, models, sessions, the turns that run."""

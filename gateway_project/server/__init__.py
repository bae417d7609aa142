"""The web process: uvicorn with bounds on all that a peer may hold, or daphne."""

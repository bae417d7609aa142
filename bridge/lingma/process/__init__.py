"""The service's own process: started, found, watched, stopped; its log."""

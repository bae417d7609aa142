"""What keys and teams may use: by the minute, at once, and by day, week and month."""

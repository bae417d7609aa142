"""Pages in a real browser, and whole installations that people walk through: `make test-browser`."""

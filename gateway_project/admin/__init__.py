"""The admin console as a whole: its site, and the pages of other projects' models."""

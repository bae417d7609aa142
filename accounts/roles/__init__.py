"""Who may do what: the groups that are shipped, and team leads, whose rights end with their teams."""

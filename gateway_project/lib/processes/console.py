"""Whether this process has pages. One that has none says so before Django is set up, and does not load them."""

served = True

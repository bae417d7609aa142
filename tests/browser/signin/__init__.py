"""Pages of a login at Lingma. Before the other modules, whose browser runs a loop in the thread of the tests."""

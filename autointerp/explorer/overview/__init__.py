"""The state of runs, of the workers and of nights, as the explorer's pages show it."""

"""What a user can see of runs, workers and this machine."""

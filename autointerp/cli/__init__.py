"""The commands of `autointerp`: options, help and exit codes."""

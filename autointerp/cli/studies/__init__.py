"""The commands of the studies, one module a command."""

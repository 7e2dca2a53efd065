"""The explorer as a folder of files that any static host serves."""

"""The pages of docs/ that come from the code, a module each."""

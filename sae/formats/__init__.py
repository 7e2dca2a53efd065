"""Weight formats of dictionaries, one adapter for each."""

"""Harvests: units and exemplars of a dictionary on a corpus, with controls, in resumable shards."""

"""The subject and the dictionary of an index at work on texts that visitors type: in a process of their own, so that the pages answer meanwhile."""

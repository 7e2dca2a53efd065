"""The study `find`: features by texts, sets of texts, neighbours, attribution, explanations, and by how their firing changes."""

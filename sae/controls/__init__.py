"""Control dictionaries and units: random weights, planted words."""

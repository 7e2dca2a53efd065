"""Commands about dictionaries: inspect, train, list the published ones."""

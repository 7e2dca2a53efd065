"""What a researcher does with features after they are graded: steer, attribute, find, match and cover. One module a study."""

"""People grade a sample of what the judge graded, blind to its grades: on a local page, in a terminal, or in a spreadsheet."""

"""People grade a sample of what the judge graded, without seeing its grades: on a local web page, in a terminal, or in a spreadsheet."""

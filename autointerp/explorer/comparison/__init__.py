"""Two indexes compared: their features matched with each other, and the differences between them and between their runs."""

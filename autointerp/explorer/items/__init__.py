"""The questions of a run and the judge's replies: listed, searched, and shown as the judge saw them."""

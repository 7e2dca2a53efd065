"""New dictionaries found, scored under a budget and compared with their versions before, without anybody at hand."""

"""The index of a whole dictionary, as columnar files that are written once and read row group by row group."""

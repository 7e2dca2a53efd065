"""Figures of the report, as SVG and tables."""

"""HTML pages that stand alone: one builder, one look, plots inside as SVG."""

"""HTML pages that stand alone: one template, one look, plots inside as SVG."""

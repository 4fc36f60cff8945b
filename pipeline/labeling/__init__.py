"""One labeling run: options, plan, preparation, the graph, and the tables at the end."""

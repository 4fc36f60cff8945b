"""Pages and tables for people, computed from the tables of runs."""

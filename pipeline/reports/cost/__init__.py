"""What runs over the same videos cost, and how far their labels agree."""

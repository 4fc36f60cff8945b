"""What an actor does, as plain classes that run without Ray."""

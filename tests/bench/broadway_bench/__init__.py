"""How fast Broadway is, and what it costs: the experiments behind scripts/bench."""

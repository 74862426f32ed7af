"""The performance experiments of scripts/bench."""

"""Attacks on a running Broadway, with graders at work and their answers timed by another process."""

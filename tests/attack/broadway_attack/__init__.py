"""Attacks on a running Broadway, while another process runs graders and measures their requests."""

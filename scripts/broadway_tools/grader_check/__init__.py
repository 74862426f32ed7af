"""The implementation of scripts/grader-check."""

"""The implementation of the Python commands in scripts/."""

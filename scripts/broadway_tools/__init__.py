"""What stands behind the Python commands in scripts/."""

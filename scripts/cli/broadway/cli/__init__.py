"""The commands of `broadway`."""

"""The vocabulary every system shares."""

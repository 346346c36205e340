"""Drawings of the theory and of stored results; nothing slow. One module for each system, under its slug."""

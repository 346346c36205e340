"""Everything drawn at random: Monte-Carlo studies and the store of their results."""

"""What simulations share: studies, seeds and the results store."""

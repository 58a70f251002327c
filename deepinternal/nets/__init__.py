"""Flax linen modules: the networks, and nothing but the networks."""

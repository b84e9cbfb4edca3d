"""Pricing: candidates -> program -> search (exact) -> plans, frontiers, explanations."""

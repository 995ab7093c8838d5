"""Verifying, repairing, merging, compacting a network."""

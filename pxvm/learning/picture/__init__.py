"""A network drawn for a person."""

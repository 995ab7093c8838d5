"""Floor 2: the compiled CPU executor, the same bytes as the reference."""

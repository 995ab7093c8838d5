"""Floor 1: the pixel machine. Nothing here imports from the floors above."""

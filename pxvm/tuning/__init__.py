"""What was measured decides what is done next: the bits of weights, and how programs are run."""

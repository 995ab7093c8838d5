"""A network as a graph of real-valued tensors and as a program in integers."""

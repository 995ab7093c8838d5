"""The families of networks, and what a checkpoint says about its own."""

"""A trained model becomes a picture."""

"""One module for each family of models; ``table`` lists them."""

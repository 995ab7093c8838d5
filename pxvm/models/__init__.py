"""Networks as programs: quantisation, graphs and builders that write dialect 1 images."""

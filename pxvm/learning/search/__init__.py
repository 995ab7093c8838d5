"""Questions answered from a network: words, vectors, times, ranking, context."""

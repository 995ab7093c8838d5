"""Records in other formats, and networks of the first kind."""

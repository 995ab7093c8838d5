"""The studio: a page in the browser for programs, models and memories."""

"""Text as glyphs in rows of pixels."""

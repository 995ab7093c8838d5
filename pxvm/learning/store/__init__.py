"""The knowledge PNG as bytes: pages, records, and how they are opened, appended and read."""

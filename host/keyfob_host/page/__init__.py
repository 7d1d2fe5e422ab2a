"""What all HTML pages that Keyfob writes have in common: one file each, needing no network."""

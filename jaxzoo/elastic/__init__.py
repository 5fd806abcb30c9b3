"""Many networks in one: nested, searched, stitched or generated."""

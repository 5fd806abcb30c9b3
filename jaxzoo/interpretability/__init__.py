"""Finding out what trained networks compute, and how."""

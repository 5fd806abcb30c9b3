"""Learning on graphs: layers that papers share, and the papers."""

"""Learning from a stream: what is met once and has to be kept."""

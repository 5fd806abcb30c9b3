"""Papers about what a representation is, how to compare two, and how to learn one."""

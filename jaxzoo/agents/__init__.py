"""Agents: what acts on an environment or a tool, and learns from what comes back."""

"""Errors of the command line itself."""


class UsageError(Exception):
    """The command line is wrong; the message says what is legal. Exit code 2."""

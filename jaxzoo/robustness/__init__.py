"""Robust, private and verifiable machine learning."""

"""Processes that share the work, shared noise, random states."""

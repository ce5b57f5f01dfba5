"""Readers: one file format a file."""

"""Placeholder until the admin is written."""

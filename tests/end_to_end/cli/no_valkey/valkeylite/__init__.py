"""Stands in front of the package of this name, and holds no server."""

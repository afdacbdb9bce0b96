"""Writes what was decided: layers, image archives, and the folder of artifacts."""

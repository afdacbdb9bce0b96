"""Decisions in words and figures for people and tools: report, why, what was removed, SBOM."""

"""Facts to decisions: pure functions, no root, no Docker, no clock."""

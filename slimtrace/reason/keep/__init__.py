"""Which files stay in the slim image, and why: the artifact graph and everything that puts paths into it."""

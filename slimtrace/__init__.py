"""slimtrace: minimal container images and security profiles, from what the container really does."""

__version__ = "0.1.0"

"""An image's files as the image has them: overlay directories, saved archives, layers, safe lookups."""

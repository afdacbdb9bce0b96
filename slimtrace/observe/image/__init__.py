"""An image's files: from overlay directories or saved archives, layer by layer or as one tree."""

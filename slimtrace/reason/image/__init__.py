"""What an image is: its configuration, the Dockerfile of its history, the inventory of its layers."""

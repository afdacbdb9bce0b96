NAME = "the second part"

NAME = "the first part"

raise "nothing names this"

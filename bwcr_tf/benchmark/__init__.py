"""How fast each part runs, against the limit of the machine."""

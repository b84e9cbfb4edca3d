"""How a customer chooses, and what happens to every customer of a store."""

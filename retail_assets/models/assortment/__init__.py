"""What happens if the assortment or its capacity changes."""

"""Step 2 of the white paper: demand and substitution rates, with their uncertainty."""

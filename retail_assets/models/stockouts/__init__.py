"""Step 1: was the product on the shelf? Inferred from receipts alone."""

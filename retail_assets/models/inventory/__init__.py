"""Stock: textbook policies, projected stock by Monte Carlo, sizes, warehouses, reorders."""

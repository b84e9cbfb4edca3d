"""The graph's assets, one module per group: read, call a model, replace, describe."""

"""Till receipts in, decisions out: stock-outs, substitution and what-if as one asset graph."""

__version__ = "0.1.0"

"""One decision in plain words: its inputs, the model's numbers, the rules, the alternatives.

Each function reads the tables and returns lines; the command ``explain`` prints them. What a
model computes belongs in models/, what a run ends with in summary.py.
"""

from retail_assets.explain.order import explain_order
from retail_assets.explain.price import explain_price
from retail_assets.explain.substitution import explain_substitution

__all__ = ["explain_order", "explain_price", "explain_substitution"]

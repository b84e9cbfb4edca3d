"""Cold start: priors of groups of similar styles, and what few trials of a new one say.

counts -> beta_binomial (one group alone), regression (attributes and log(1 + n)),
hierarchy (groups together) -> posterior (per style and day) -> predictive.
"""

"""Own latent demand at any price: exposure, log-linear margin, boosted trees, backtest."""

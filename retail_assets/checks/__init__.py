"""Asset checks: from the contract, and per model."""

"""What people look at: plots and metadata. Draws what it is handed, reads nothing."""

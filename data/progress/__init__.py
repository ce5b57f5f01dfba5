"""What long work shows on the screen."""

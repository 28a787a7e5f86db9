"""Topics that ship, written like a user's own."""

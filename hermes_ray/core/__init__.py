"""The pure core: decides everything, touches nothing. No clock, I/O, randomness, ray or pika; stdlib only."""

"""One process that consumes a queue and runs its handler; without ray."""

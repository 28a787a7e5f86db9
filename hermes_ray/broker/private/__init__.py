"""A private RabbitMQ for development, tests and the demo."""

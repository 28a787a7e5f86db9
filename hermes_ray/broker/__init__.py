"""The AMQP side: the only package that imports pika."""

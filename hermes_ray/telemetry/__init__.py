"""What a deployment shows of itself: figures, the metrics made of them, and the server they are scraped from."""

"""The only importer of ray: scaler and workers as actors, and whoever calls them."""

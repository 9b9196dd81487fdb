"""A page that measures and tries an artifact's files in a browser, and its small server."""

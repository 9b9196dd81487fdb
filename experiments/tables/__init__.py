"""One file a table or figure of the papers: what is measured, and how it is shown."""

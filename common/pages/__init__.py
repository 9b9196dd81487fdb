"""What commands write for people: HTML pages, and sections of Markdown documents."""

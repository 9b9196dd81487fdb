"""The papers' tables and figures as commands, on top of everything; nothing imports it."""

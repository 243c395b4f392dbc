"""What to do now, what not, and why not. Pure."""

"""From what was found to lines, a small function for each thing that can be right or wrong. Pure."""

"""From what was seen and remembered to a verdict on each link of each chain. Pure."""

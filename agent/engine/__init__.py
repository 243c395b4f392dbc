"""One pass after another: what was seen becomes a projection, a diagnosis, a plan, and the steps that heal."""

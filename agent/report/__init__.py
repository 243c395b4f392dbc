"""What the agent tells: subscribers of the event types in ``agent.events``, a file each.

Adding an output touches no logic."""

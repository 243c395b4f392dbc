"""``doctor``: can the agent work here, and what is missing. ``looking`` asks, ``checks`` judges, ``telling`` says.

Nothing is written anywhere: what is asked besides reading are reviews of our own rights and requests that the API
server judges and does not keep (``dryRun=All``).
"""

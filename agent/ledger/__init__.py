"""What outlives one process: the memory, kept in ConfigMaps and Secrets of the agent's own namespace."""

from agent.ledger.keys import NAME as KEY_NAME
from agent.ledger.keys import Installation, installation_key
from agent.ledger.ledger import Ledger, LedgerConflict, LedgerProblem

__all__ = ["KEY_NAME", "Installation", "Ledger", "LedgerConflict", "LedgerProblem", "installation_key"]

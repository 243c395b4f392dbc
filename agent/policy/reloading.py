"""The policy file of a running agent."""

from __future__ import annotations

from pathlib import Path

from .loading import default, loads, read_text
from .policy import Policy
from .problems import PolicyError


class PolicyFile:
    """The policy in force, and the file it comes from.

    The file is read whole at each look and compared by content: it is small, and no time, size or inode tells safely
    that a file has not changed (a rewrite within one tick of the filesystem's clock moves none of them).
    """

    def __init__(self, path: Path | None) -> None:
        """Without a path the policy of the package is in force. Raises PolicyError: nothing is in force yet to keep."""
        self._path = path
        self._text = "" if path is None else read_text(path)
        self.current: Policy = default() if path is None else loads(self._text, str(path))
        """The last good policy."""
        self.problem: PolicyError | None = None
        """Why the file as it is now is not the one in force; None while it is."""

    @classmethod
    def of(cls, text: str, name: str) -> PolicyFile:
        """A policy that comes from no file, and is not read again; ``name`` is what its mistakes call it.

        Raises PolicyError.
        """
        made = cls(None)
        made.current = loads(text, name)
        return made

    def reload_if_changed(self) -> bool:
        """Look at the file; answer whether another policy is in force now. A bad file changes ``problem`` alone."""
        if self._path is None:
            return False
        try:
            text = read_text(self._path)
            if text == self._text:
                self.problem = None
                return False
            policy = loads(text, str(self._path))
        except PolicyError as error:
            self.problem = error
            return False
        self._text, self.problem = text, None
        changed = policy != self.current
        self.current = policy
        return changed

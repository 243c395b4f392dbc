"""Makes the package ``support`` importable by every test: pytest puts this file's directory on the path."""

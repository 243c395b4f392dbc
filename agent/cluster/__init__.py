"""The API server: lists, watches and the few writes; the only place that imports kubernetes."""

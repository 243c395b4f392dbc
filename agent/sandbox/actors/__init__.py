"""Actors that bring a cluster to life over nothing but its API: ESO, workload controllers, budgets, kubelets."""

"""A whole Broadway on one machine: a database, replicas of the API and schedulers, as scripts/stack runs them."""

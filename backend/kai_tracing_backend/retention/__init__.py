"""How long what is kept: the policy, what of it is due, and the sweeper that drops it."""

"""Who may do what: tokens, their tenants, scopes and limits, and what binds to which address."""
